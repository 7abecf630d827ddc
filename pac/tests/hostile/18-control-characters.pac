function FindProxyForURL(url, host) {
  return 'PROXY p:1\r\nX-Injected: yes\u0000\u001b[31m; DIRECT';
}
