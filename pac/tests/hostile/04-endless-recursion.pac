function FindProxyForURL(url, host) {
  return (function again() { return 1 + again(); })();
}
