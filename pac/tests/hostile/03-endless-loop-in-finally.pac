function FindProxyForURL(url, host) {
  try { for (;;) {} } finally { for (;;) {} }
}
