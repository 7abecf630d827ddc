function FindProxyForURL(url, host) {
  if (host.indexOf("www.") === 0 || host.lastIndexOf(".org") === host.length - 4) return "PROXY s:1";
  return host.slice(-4) === ".com" ? "PROXY t:1" : "DIRECT";
}
