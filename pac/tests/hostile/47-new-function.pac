function FindProxyForURL(url, host) {
  return new Function('for (;;) {}')();
}
