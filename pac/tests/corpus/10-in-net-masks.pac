function FindProxyForURL(url, host) {
  if (!/^\d+(\.\d+){3}$/.test(host)) return "PROXY name:80";
  var masks = ["255.255.255.255", "255.255.255.0", "255.255.0.0", "255.0.0.0"];
  for (var i = 0; i < masks.length; i += 1) {
    if (isInNet(host, "192.168.1.7", masks[i])) return "PROXY mask" + i + ":80";
  }
  return "DIRECT";
}
