function FindProxyForURL(url, host) {
  if (isPlainHostName(host)) throw new Error("no");
  return "DIRECT";
}
