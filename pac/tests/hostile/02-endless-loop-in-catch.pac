function FindProxyForURL(url, host) {
  for (;;) { try { for (;;) {} } catch (error) {} }
}
