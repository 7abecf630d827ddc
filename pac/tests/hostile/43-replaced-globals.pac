function FindProxyForURL(url, host) {
  String = Array = Object = RegExp = Math = undefined;
  return shExpMatch(host, '*.test') ? 'PROXY p:1' : 'DIRECT';
}
