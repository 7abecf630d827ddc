function FindProxyForURL(url, host) {
  if (url.indexOf("/private/") > 0) return "PROXY private:80";
  return "DIRECT";
}
