function FindProxyForURL(url, host) {
  throw { get message() { for (;;) {} }, toString: function () { for (;;) {} } };
}
