function FindProxyForURL(url, host) {
  return String({ toString: function () { for (;;) {} } });
}
