function FindProxyForURL(url, host) {
  for (var bound = function () {}; ; ) bound = bound.bind(null);
}
