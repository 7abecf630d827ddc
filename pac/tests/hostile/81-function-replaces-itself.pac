function FindProxyForURL(url, host) {
  var before = FindProxyForURL;
  FindProxyForURL = function (url, host) { return before(url, host); };
  return 'PROXY p:1';
}
