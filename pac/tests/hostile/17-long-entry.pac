function FindProxyForURL(url, host) {
  return 'PROXY ' + new Array(16000).join('p') + ':1';
}
