function FindProxyForURL(url, host) {
  return new Array(1e6).join('PROXY p:1; ');
}
