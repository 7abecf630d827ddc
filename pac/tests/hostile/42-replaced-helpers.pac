function FindProxyForURL(url, host) {
  shExpMatch = isInNet = dnsResolve = function () { for (;;) {} };
  return shExpMatch(host, '*') ? 'DIRECT' : 'PROXY p:1';
}
