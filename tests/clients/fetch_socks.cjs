// Gets a URL through a SOCKS proxy: fetch_socks.cjs PROXY_URL URL, the body on stdout.
const http = require("node:http");
const { SocksProxyAgent } = require("socks-proxy-agent");

const [proxy, url] = process.argv.slice(2);
http.get(url, { agent: new SocksProxyAgent(proxy) }, (answer) => answer.pipe(process.stdout)).on("error", (error) => {
  console.error(error.message);
  process.exit(1);
});
