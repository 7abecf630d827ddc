function FindProxyForURL(url, host) {
  for (var text = 'x'; ; ) text += text;
}
