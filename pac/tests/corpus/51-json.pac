function FindProxyForURL(url, host) {
  return JSON.parse("{\"a\":\"PROXY json:1\"}").a;
}
