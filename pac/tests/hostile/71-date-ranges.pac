function FindProxyForURL(url, host) {
  for (;;) dateRange(1, 'JAN', 1995, 31, 'DEC', 2035);
}
