function FindProxyForURL(url, host) {
  return eval("'PROXY ev' + 'al:1'");
}
