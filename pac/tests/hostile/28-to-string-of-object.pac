function FindProxyForURL(url, host) {
  return { toString: function () { return 'DIRECT'; } };
}
