function FindProxyForURL(url, host) {
  for (var list = []; ; ) list.push(new Array(1000).join('x') + list.length);
}
