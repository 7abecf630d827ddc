function FindProxyForURL(url, host) {
  return isInNet(host, { toString: function () { while (1) {} } }, '255.0.0.0') ? 'DIRECT' : 'PROXY p:1';
}
