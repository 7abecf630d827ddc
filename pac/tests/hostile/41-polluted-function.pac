function FindProxyForURL(url, host) {
  Function.prototype.call = Function.prototype.apply = function () { for (;;) {} };
  return 'PROXY p:1';
}
