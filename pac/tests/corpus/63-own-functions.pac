function isPlainHostName(host) { return host === 'mine'; }
function FindProxyForURL(url, host) {
  return isPlainHostName(host) ? "DIRECT" : "PROXY own:1";
}
