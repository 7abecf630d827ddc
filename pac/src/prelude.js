// The functions for PAC files that are about hosts and addresses.
//
// They need no more than ECMAScript 5. A function that asks for the addresses of a name may not return: if the name has to be
// looked up first, `native.addresses` ends the call, which starts again later.
(function (global, native) {
  // Returns the addresses of a host, of both families, as a list.
  function addresses(host) {
    var list = native.addresses(String(host));
    return list === "" ? [] : list.split(";");
  }

  global.isPlainHostName = function (host) {
    return !/[.:]/.test(host);
  };

  global.dnsDomainIs = function (host, domain) {
    host = String(host);
    domain = String(domain);
    return host.length >= domain.length && host.substring(host.length - domain.length) === domain;
  };

  global.localHostOrDomainIs = function (host, hostAndDomain) {
    host = String(host);
    hostAndDomain = String(hostAndDomain);
    return host === hostAndDomain || hostAndDomain.lastIndexOf(host + ".", 0) === 0;
  };

  global.dnsDomainLevels = function (host) {
    return String(host).split(".").length - 1;
  };

  global.dnsResolve = function (host) {
    return native.firstIpv4(native.addresses(String(host)));
  };

  global.dnsResolveEx = function (host) {
    return addresses(host).join(";");
  };

  global.isResolvable = function (host) {
    return global.dnsResolve(host) !== null;
  };

  global.isResolvableEx = function (host) {
    return addresses(host).length > 0;
  };

  global.convert_addr = function (address) {
    return native.number(String(address));
  };

  global.isInNet = function (host, network, mask) {
    host = String(host);
    var address = native.looksLikeIpv4(host) ? host : global.dnsResolve(host);
    return address !== null && native.isInNet(address, String(network), String(mask));
  };

  global.isInNetEx = function (address, prefix) {
    return native.isInPrefix(String(address), String(prefix));
  };

  global.sortIpAddressList = function (list) {
    return native.sorted(String(list));
  };

  global.myIpAddress = function () {
    return native.firstIpv4(native.ownAddresses()) || "127.0.0.1";
  };

  global.myIpAddressEx = function () {
    return native.ownAddresses();
  };

  // Browsers make a regular expression of the pattern and escape only its dots, and scripts rely on that. A script uses the
  // same few patterns in every call, so their expressions are cached.
  var expressions = Object.create(null), count = 0;

  function expression(pattern) {
    var known = expressions[pattern];
    if (known !== undefined) return known;
    if (count === 2000) {
      expressions = Object.create(null);
      count = 0;
    }
    count += 1;
    var source = pattern.replace(/\./g, "\\.").replace(/\*/g, ".*").replace(/\?/g, ".");
    return expressions[pattern] = new RegExp("^" + source + "$");
  }

  global.shExpMatch = function (text, pattern) {
    return expression(String(pattern)).test(text);
  };

  global.alert = function (message) {
    native.alert(String(message));
  };

  // The version of Microsoft's extensions.
  global.getClientVersion = function () {
    return "1.0";
  };
})
