function FindProxyForURL(url, host) {
  if (shExpMatch(host, "*.example.com")) return "PROXY a:1";
  if (shExpMatch(host, "w?w.example.*")) return "PROXY b:1";
  return "DIRECT";
}
