function FindProxyForURL(url, host) {
  return weekdayRange("SUN", "SAT") ? "PROXY week:1" : "DIRECT";
}
