function FindProxyForURL(url, host) {
  for (var object = {}; ; ) object = Object.create(object);
}
