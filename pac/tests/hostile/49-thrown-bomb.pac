function FindProxyForURL(url, host) {
  throw new Error(new Array(4e6).join('x'));
}
