function FindProxyForURL(url, host) {
  alert({ toString: function () { for (;;) {} } });
}
