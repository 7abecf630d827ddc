function FindProxyForURL(url, host) {
  for (;;) alert(new Array(1000).join('x'));
}
