function FindProxyForURL(url, host) {
  for (var text = 'x'; text.length < 1e6; ) text += text;
  for (var count = 0; count < 19; count += 1) dnsResolve(text + count + Math.random());
  return 'PROXY p:1';
}
