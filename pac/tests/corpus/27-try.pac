function FindProxyForURL(url, host) {
  try { return undefinedFunction(host); } catch (error) { return "PROXY caught:1"; }
}
