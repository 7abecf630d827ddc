function FindProxyForURL(url, host) {
  return [3, 2, 1].sort(function () { for (;;) {} }).join();
}
