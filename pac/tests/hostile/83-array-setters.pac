Object.defineProperty(Array.prototype, 0, { set: function () { for (;;) {} }, get: function () { for (;;) {} } });
function FindProxyForURL(url, host) {
  return 'PROXY ' + [host][0] + dnsResolveEx('a.invalid') + ':1';
}
