function FindProxyForURL(url, host) {
  return Array.prototype.reverse.call({ length: 9007199254740991 });
}
