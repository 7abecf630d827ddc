function FindProxyForURL(url, host) {
  outer: for (;;) { inner: for (;;) { continue outer; } }
}
