function FindProxyForURL(url, host) {
  return "PROXY n" + (0x1f + 1e1 + 010).toString(16) + ":1";
}
