function FindProxyForURL(url, host) {
  return dnsResolve({ toString: function () { for (;;) {} } });
}
