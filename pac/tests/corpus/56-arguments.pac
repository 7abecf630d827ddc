function FindProxyForURL(url, host) {
  return arguments.length === 2 ? "PROXY two:1" : "DIRECT";
}
