function FindProxyForURL(url, host) {
  return { get toString() { throw new Error('no'); } };
}
