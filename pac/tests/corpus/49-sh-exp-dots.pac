function FindProxyForURL(url, host) {
  return shExpMatch(host, "www.example.com") ? "PROXY dots:1" : "DIRECT";
}
