function FindProxyForURL(url, host) {
  for (var kept = [], count = 0; ; count += 1) kept.push(new Function('return ' + count));
}
