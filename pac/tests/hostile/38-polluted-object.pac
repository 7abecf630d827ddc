function FindProxyForURL(url, host) {
  Object.prototype.toString = function () { for (;;) {} };
  Object.prototype.valueOf = Object.prototype.toString;
  Object.prototype.host = 'x';
  return 'PROXY p:1';
}
