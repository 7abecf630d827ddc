function FindProxyForURL(url, host) {
  var found = /^(\w+)\.(.*)$/.exec(host);
  return found ? "PROXY " + found[1] + ":80" : "DIRECT";
}
