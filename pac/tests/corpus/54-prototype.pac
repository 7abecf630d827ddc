function Rule(proxy) { this.proxy = proxy; }
Rule.prototype.answer = function (host) { return isPlainHostName(host) ? "DIRECT" : this.proxy; };
function FindProxyForURL(url, host) {
  return new Rule("PROXY proto:1").answer(host);
}
