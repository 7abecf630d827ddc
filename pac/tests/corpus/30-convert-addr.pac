function FindProxyForURL(url, host) {
  if (!/^\d+(\.\d+){3}$/.test(host)) return "DIRECT";
  return (convert_addr(host) & 0xff) > 5 ? "PROXY high:1" : "PROXY low:1";
}
