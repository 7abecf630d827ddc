function FindProxyForURL(url, host) {
  var map = new Map([[0, 0]]);
  map.forEach(function (value, key) { map.delete(key); map.set(key + 1, value); });
  return 'DIRECT';
}
