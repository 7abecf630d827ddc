function FindProxyForURL(url, host) {
  for (var all = {}, count = 0; ; count += 1) all['key' + count] = { count: count, self: all };
}
