function FindProxyForURL(url, host) {
  try { dnsResolve('caught.invalid'); } catch (error) {}
  for (;;) {}
}
