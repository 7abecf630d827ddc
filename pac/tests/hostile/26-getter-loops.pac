function FindProxyForURL(url, host) {
  return { get toString() { for (;;) {} } };
}
