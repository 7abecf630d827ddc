function FindProxyForURL(url, host) {
  String.prototype.split = String.prototype.substring = String.prototype.indexOf = function () { for (;;) {} };
  return dnsResolveEx(host) + dnsDomainIs(host, '.x');
}
