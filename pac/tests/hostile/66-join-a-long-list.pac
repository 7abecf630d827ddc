function FindProxyForURL(url, host) {
  return Array.prototype.join.call({ length: 9007199254740991 }, '');
}
