function FindProxyForURL(url, host) {
  return 'p' + Array.prototype.indexOf.call({ length: 9007199254740991 }, 1);
}
