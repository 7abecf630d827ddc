// As fetch.py, with axios. Node itself is told of the authority, by NODE_EXTRA_CA_CERTS: agents pass no certificates on
// to targets.
const fs = require("node:fs");
const axios = require("axios");
const { HttpsProxyAgent } = require("https-proxy-agent");

const [proxy, , method, url, body] = process.argv.slice(2);
const { hostname, port } = new URL(proxy);
// axios sends plain requests to a proxy in absolute-form; a tunnel for https needs an agent.
const way = url.startsWith("https:")
  ? { proxy: false, httpsAgent: new HttpsProxyAgent(proxy, { keepAlive: true }) }
  : { proxy: { protocol: "http", host: hostname, port: Number(port) } };
const read = url.endsWith("?chunked") ? fs.createReadStream : fs.readFileSync;

async function main() {
  let answer;
  for (let left = method === "GET" ? 2 : 1; left > 0; left -= 1) {
    answer = await axios.request({
      method,
      url,
      data: body && read(body),
      responseType: "arraybuffer",
      timeout: 30_000,
      ...way,
    });
  }
  process.stdout.write(answer.data, () => process.exit());
}

main().catch((error) => {
  console.error(error.message);
  process.exit(1);
});
