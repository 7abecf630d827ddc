function FindProxyForURL(url, host) {
  host = host.toUpperCase();
  if (dnsDomainIs(host, ".EXAMPLE.COM")) return "proxy Upper:80";
  return "direct";
}
