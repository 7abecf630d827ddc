function FindProxyForURL(url, host) {
  return new RegExp('(?:a{1,1000}){1,1000}$').test(new Array(5000).join('a') + '!') ? 'DIRECT' : 'PROXY p:1';
}
