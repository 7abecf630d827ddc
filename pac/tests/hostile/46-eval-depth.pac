function FindProxyForURL(url, host) {
  return eval(new Array(100000).join('(') + '1' + new Array(100000).join(')'));
}
