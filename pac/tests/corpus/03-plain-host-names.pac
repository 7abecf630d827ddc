function FindProxyForURL(url, host) {
  if (isPlainHostName(host)) return "DIRECT";
  return "PROXY proxy1.corp.example:3128; PROXY proxy2.corp.example:3128; DIRECT";
}
