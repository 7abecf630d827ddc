function FindProxyForURL(url, host) {
  return new Array(1e6).join('a').replace(/a/g, function () { for (;;) {} });
}
