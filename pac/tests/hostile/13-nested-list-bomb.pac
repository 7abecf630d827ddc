function FindProxyForURL(url, host) {
  for (var list = []; ; ) list = [list, list];
}
