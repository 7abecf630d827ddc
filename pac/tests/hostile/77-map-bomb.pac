function FindProxyForURL(url, host) {
  for (var map = new Map(), count = 0; ; count += 1) map.set({ count: count }, 'x' + count);
}
