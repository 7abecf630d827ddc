function FindProxyForURL(url, host) {
  var list = [];
  list[4294967294] = 'x';
  return list.join('; ');
}
