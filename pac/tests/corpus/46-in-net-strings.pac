function FindProxyForURL(url, host) {
  var is = /^\d/.test(host) && isInNet(host, "172.16.0.0", "255.240.0.0");
  return is ? "PROXY private:1" : "DIRECT";
}
