function FindProxyForURL(url, host) {
  function again() { try { again(); } finally { again(); } }
  again();
}
