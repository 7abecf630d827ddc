function FindProxyForURL(url, host) {
  return "\x50ROXY \u0061:1";
}
