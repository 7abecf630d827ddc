function FindProxyForURL(url, host) {
  function jump(count) { try { throw count; } catch (next) { return jump(next + 1); } }
  return jump(0);
}
