function FindProxyForURL(url, host) {
  return /^(a+)+$/.test(new Array(60).join('a') + '!') ? 'DIRECT' : 'PROXY p:1';
}
