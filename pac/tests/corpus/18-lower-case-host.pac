function FindProxyForURL(url, host) {
  var lower = host.toLowerCase();
  return lower == host ? "PROXY same:80" : "PROXY other:80";
}
