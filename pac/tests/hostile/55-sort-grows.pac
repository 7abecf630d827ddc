function FindProxyForURL(url, host) {
  for (var list = []; list.length < 1000; ) list.push(Math.random());
  return list.sort(function () { list.push(new Array(1e4).join('x')); return 1; }).join();
}
