function FindProxyForURL(url, host) {
  return dateRange(1999) ? "PROXY past:1" : "DIRECT";
}
