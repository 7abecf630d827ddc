function FindProxyForURL(url, host) {
  return shExpMatch(host, "???.*") ? "PROXY three:1" : "DIRECT";
}
