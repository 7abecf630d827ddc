function FindProxyForURL(url, host) {
  return eval('for (;;) {}');
}
