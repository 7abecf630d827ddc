function FindProxyForURL(url, host) {
  var n = 0;
  for (var i = 0; i < host.length; i++) n = (n << 5) - n + host.charCodeAt(i) | 0;
  return "PROXY b" + (n >>> 30) + ":1";
}
