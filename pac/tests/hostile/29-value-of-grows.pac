function FindProxyForURL(url, host) {
  var text = 'x';
  return '' + { toString: null, valueOf: function () { for (;;) text += text; } };
}
