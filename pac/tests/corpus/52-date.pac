function FindProxyForURL(url, host) {
  return new Date(0).getTime() === 0 ? "PROXY epoch:1" : "DIRECT";
}
