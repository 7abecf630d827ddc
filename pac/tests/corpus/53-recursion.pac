function FindProxyForURL(url, host) {
  function fib(n) { return n < 2 ? n : fib(n - 1) + fib(n - 2); }
  return "PROXY f" + fib(host.length % 15) + ":1";
}
