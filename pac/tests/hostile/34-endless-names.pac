function FindProxyForURL(url, host) {
  for (var count = 0; ; count += 1) try { dnsResolve('host' + count + '.invalid'); } catch (error) {}
}
