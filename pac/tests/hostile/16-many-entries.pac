function FindProxyForURL(url, host) {
  return new Array(1400).join('PROXY p:1; ') + 'DIRECT';
}
