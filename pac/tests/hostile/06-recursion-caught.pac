function FindProxyForURL(url, host) {
  function again() { try { return again(); } catch (error) { return again(); } }
  return again();
}
