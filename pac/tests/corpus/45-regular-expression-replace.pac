function FindProxyForURL(url, host) {
  return "PROXY " + host.replace(/\./g, "-").replace(/[^\w-]/g, "") + ":1";
}
