function FindProxyForURL(url, host) {
  return new Array(1 << 22).join('a').split('');
}
