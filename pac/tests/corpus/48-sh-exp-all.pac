function FindProxyForURL(url, host) {
  return shExpMatch(host, "*") && shExpMatch(url, "*://*") ? "PROXY all:1" : "DIRECT";
}
