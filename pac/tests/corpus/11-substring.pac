function FindProxyForURL(url, host) {
  if (url.substring(0, 5) == "http:") return "PROXY http:80";
  if (url.substring(0, 6) == "https:") return "PROXY https:80";
  if (url.substring(0, 4) == "ftp:") return "PROXY ftp:80";
  return "DIRECT";
}
