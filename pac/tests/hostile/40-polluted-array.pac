function FindProxyForURL(url, host) {
  Array.prototype.join = Array.prototype.push = function () { for (;;) {} };
  return dnsResolveEx(host) + sortIpAddressList('1.2.3.4');
}
