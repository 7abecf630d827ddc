function FindProxyForURL(url, host) {
  return "PROXY a:1; HTTPS b:2; SOCKS c:3; SOCKS5 d:4; DIRECT";
}
