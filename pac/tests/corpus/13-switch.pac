function FindProxyForURL(url, host) {
  switch (host.split(".").pop()) {
    case "com": return "PROXY com:80";
    case "org": return "PROXY org:80";
    default: return "DIRECT";
  }
}
