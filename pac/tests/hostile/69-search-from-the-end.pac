function FindProxyForURL(url, host) {
  var half = new Array(1 << 20).join('a');
  return 'p' + (half + half).lastIndexOf('b' + half);
}
