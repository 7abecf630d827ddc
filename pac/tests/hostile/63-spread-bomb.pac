function FindProxyForURL(url, host) {
  return String.fromCharCode.apply(null, new Array(6e4)) + 'x';
}
