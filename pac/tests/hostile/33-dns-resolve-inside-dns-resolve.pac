function FindProxyForURL(url, host) {
  return dnsResolve({ toString: function () { return dnsResolve(this) || 'x'; } });
}
