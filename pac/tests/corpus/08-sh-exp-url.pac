function FindProxyForURL(url, host) {
  if (shExpMatch(url, "http:*")) return "PROXY a:1";
  if (shExpMatch(url, "https://*/*")) return "PROXY b:1";
  return "DIRECT";
}
