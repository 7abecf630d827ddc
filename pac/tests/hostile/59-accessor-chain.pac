function FindProxyForURL(url, host) {
  var all = { get next() { return this; } };
  for (;;) all = all.next;
}
