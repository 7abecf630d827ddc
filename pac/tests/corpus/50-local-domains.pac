function FindProxyForURL(url, host) {
  if (dnsDomainLevels(host) === 0 || localHostOrDomainIs(host, "intranet.corp.example")) return "DIRECT";
  return "PROXY p:1";
}
