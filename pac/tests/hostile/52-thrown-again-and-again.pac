function FindProxyForURL(url, host) {
  try { throw 1; } finally { try { throw 2; } finally { throw 3; } }
}
