// As fetch.cjs, with undici.
const fs = require("node:fs");
const { ProxyAgent, request } = require("undici");

const [proxy, , method, url, body] = process.argv.slice(2);
const dispatcher = new ProxyAgent({ uri: proxy, proxyTunnel: false });
const read = url.endsWith("?chunked") ? fs.createReadStream : fs.readFileSync;

async function main() {
  let content;
  for (let left = method === "GET" ? 2 : 1; left > 0; left -= 1) {
    const answer = await request(url, { dispatcher, method, body: body && read(body) });
    content = Buffer.from(await answer.body.arrayBuffer());
    // It takes a connection for busy until the next turn, and would open another.
    await new Promise(setImmediate);
    if (answer.statusCode !== 200) throw new Error(`${answer.statusCode}: ${content}`);
  }
  process.stdout.write(content, () => process.exit());
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
