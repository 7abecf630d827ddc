var kept = [];
function FindProxyForURL(url, host) {
  for (var count = 0; count < 100; count += 1) kept.push(new Array(1000).join('x') + kept.length);
  return 'PROXY p:1';
}
