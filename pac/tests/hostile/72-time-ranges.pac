function FindProxyForURL(url, host) {
  return timeRange({ valueOf: function () { for (;;) {} } }, 5) ? 'DIRECT' : 'PROXY p:1';
}
