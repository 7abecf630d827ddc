function FindProxyForURL(url, host) {
  return "PROXY proxy.corp.example:8080";
}
