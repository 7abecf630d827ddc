function FindProxyForURL(url, host) {
  var é = "PROXY accent:1";
  return isPlainHostName(host) ? "DIRECT" : é;
}
