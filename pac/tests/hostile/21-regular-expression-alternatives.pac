function FindProxyForURL(url, host) {
  return /^(a|a|aa)*$/.test(new Array(80).join('a') + '!') ? 'DIRECT' : 'PROXY p:1';
}
