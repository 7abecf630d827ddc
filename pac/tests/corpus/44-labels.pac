function FindProxyForURL(url, host) {
  outer: for (var i = 0; i < 3; i++) {
    for (var j = 0; j < 3; j++) { if (host.charCodeAt(j) % 3 === i) continue outer; if (i + j > 3) break outer; }
  }
  return "PROXY " + "abcd".charAt(i) + ":1";
}
