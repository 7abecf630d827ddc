var direct = ["*.local", "localhost", "*.corp.example", "127.*", "10.*", "192.168.*"];
function FindProxyForURL(url, host) {
  for (var i = 0; i < direct.length; i++) {
    if (shExpMatch(host, direct[i])) return "DIRECT";
  }
  return "PROXY p:80";
}
