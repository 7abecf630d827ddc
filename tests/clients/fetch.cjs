// Makes one request with axios: fetch.cjs PROXY AUTHORITY_FILE METHOD URL [BODY_FILE], the answer's body on stdout.
// Node itself is told of the authority, by NODE_EXTRA_CA_CERTS: agents pass no certificates on to targets.
const fs = require("node:fs");
const axios = require("axios");
const { HttpsProxyAgent } = require("https-proxy-agent");

const [proxy, , method, url, body] = process.argv.slice(2);
const { hostname, port } = new URL(proxy);
axios
  .request({
    method,
    url,
    data: body && fs.readFileSync(body),
    responseType: "arraybuffer",
    timeout: 30_000,
    // axios sends plain requests to a proxy in absolute-form; a tunnel for https needs an agent.
    ...(url.startsWith("https:")
      ? { proxy: false, httpsAgent: new HttpsProxyAgent(proxy) }
      : { proxy: { protocol: "http", host: hostname, port: Number(port) } }),
  })
  .then((answer) => process.stdout.write(answer.data))
  .catch((error) => {
    console.error(error.message);
    process.exitCode = 1;
  });
