function FindProxyForURL(url, host) {
  return dateRange("JAN", "DEC") ? "PROXY year:1" : "DIRECT";
}
