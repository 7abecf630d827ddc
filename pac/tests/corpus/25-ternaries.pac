function FindProxyForURL(url, host) {
  return isPlainHostName(host) ? "DIRECT" : shExpMatch(host, "*.com") ? "PROXY com:1" : "PROXY rest:1";
}
