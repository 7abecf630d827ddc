/* A comment with a function FindProxyForURL in it. */
// Another one.
function FindProxyForURL(url, host) {
  /* before */ return /* between */ "DIRECT"; // after
}
