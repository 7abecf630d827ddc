function FindProxyForURL(url, host) {
  var error = new Error('no');
  ['message', 'stack', 'name'].forEach(function (name) {
    Object.defineProperty(error, name, { get: function () { for (;;) {} } });
  });
  throw error;
}
