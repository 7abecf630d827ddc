var FindProxyForURL = (function () {
  var proxy = "PROXY closure:1";
  return function FindProxyForURL(url, host) { return isPlainHostName(host) ? "DIRECT" : proxy; };
})();
