function FindProxyForURL(url, host) {
  return 'PROXY p:1; '.repeat(1e9);
}
