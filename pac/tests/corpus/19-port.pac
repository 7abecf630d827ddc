function FindProxyForURL(url, host) {
  var port = /:(\d+)\//.exec(url.substring(6));
  return port ? "PROXY port" + port[1] + ":80" : "DIRECT";
}
