function FindProxyForURL(url, host) {

}
