function FindProxyForURL(url, host) {
  var labels = host.split(".").reverse().join("-");
  return "PROXY " + labels.replace(/[^a-z-]/g, "x") + ":1";
}
