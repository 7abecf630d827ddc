function FindProxyForURL(url, host) {
  return JSON.stringify({ get x() { for (;;) {} } });
}
