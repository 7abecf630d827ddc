function FindProxyForURL(url, host) {
  var cycle = {};
  cycle.toJSON = function () { return { again: cycle }; };
  return JSON.stringify(cycle);
}
