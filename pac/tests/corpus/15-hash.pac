function FindProxyForURL(url, host) {
  var sum = 0;
  for (var i = 0; i < host.length; i += 1) sum = (sum * 31 + host.charCodeAt(i)) % 1000003;
  return "PROXY proxy" + (sum % 4) + ".corp.example:3128";
}
