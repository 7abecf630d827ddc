function FindProxyForURL(url, host) {
  return timeRange(0, 23) ? "PROXY day:1" : "DIRECT";
}
