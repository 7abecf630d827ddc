function FindProxyForURL(url, host) {
  return new RegExp(new Array(5000).join('(') + 'a' + new Array(5000).join(')*')).test(host) ? 'DIRECT' : 'PROXY p:1';
}
