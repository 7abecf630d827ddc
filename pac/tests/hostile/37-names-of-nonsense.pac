function FindProxyForURL(url, host) {
  for (var count = 0; count < 1000; count += 1) dnsResolve('no name ' + count + '/' + Math.random());
  return 'PROXY p:1';
}
