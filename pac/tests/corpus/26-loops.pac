var names = [".a.example", ".b.example", ".example.com"];
function FindProxyForURL(url, host) {
  var i = 0, found = false;
  do { found = dnsDomainIs(host, names[i]); i++; } while (!found && i < names.length);
  return found ? "PROXY n" + i + ":1" : "DIRECT";
}
