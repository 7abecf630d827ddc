function FindProxyForURL(url, host) {
  return 'PROXY p\ud800:1';
}
