function FindProxyForURL(url, host) {
  for (var list = [], count = 0; count < 1e5; count += 1) list.push(Math.random());
  return list.sort(function () { return Math.random() - 0.5; }).join().substring(0, 10);
}
