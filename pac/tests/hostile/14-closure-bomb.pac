function FindProxyForURL(url, host) {
  for (var next = null; ; ) next = (function (before) { return function () { return before; }; })(next);
}
