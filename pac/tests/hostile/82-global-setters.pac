Object.defineProperty(this, 'host', { set: function () { for (;;) {} } });
function FindProxyForURL(url, name) {
  host = name;
  return 'DIRECT';
}
