var proxies = { ".example.com": "com:80", ".example.org": "org:80", ".corp.example": "corp:80" };
function FindProxyForURL(url, host) {
  for (var suffix in proxies) {
    if (dnsDomainIs(host, suffix)) return "PROXY " + proxies[suffix];
  }
  return "DIRECT";
}
