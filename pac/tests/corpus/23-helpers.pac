var bypass = "DIRECT";
var normal = "PROXY p:80";
function isLocal(host) {
  return isPlainHostName(host) || dnsDomainIs(host, ".local");
}
function FindProxyForURL(url, host) {
  return isLocal(host) ? bypass : normal;
}
