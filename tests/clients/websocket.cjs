// A WebSocket server of ws's, and a client of it through a proxy: websocket.cjs PROXY CERTIFICATE KEY, the two as
// PEM texts, with NODE_EXTRA_CA_CERTS naming who signed. ws:// goes in absolute-form and through CONNECT, wss:// through CONNECT.
const assert = require("node:assert");
const http = require("node:http");
const https = require("node:https");
const { once } = require("node:events");
const { WebSocket, WebSocketServer } = require("ws");
const { HttpProxyAgent } = require("http-proxy-agent");
const { HttpsProxyAgent } = require("https-proxy-agent");

const [proxy, cert, key] = process.argv.slice(2);

async function check(server, scheme, agent) {
  const echo = new WebSocketServer({ server });
  echo.on("connection", (socket) => {
    socket.send("first");
    socket.on("message", (data, isBinary) => socket.send(data, { binary: isBinary }));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const socket = new WebSocket(`${scheme}://127.0.0.1:${server.address().port}/chat`, { agent });
  const [first] = await once(socket, "message");
  assert.equal(first.toString(), "first");
  for (const length of [0, 1, 125, 126, 70_000, 1_000_000]) {
    const message = Buffer.alloc(length, "pattern");
    socket.send(message);
    const [back] = await once(socket, "message");
    assert.ok(message.equals(back), `${scheme} ${length}`);
  }
  socket.ping("are you there");
  assert.equal((await once(socket, "pong"))[0].toString(), "are you there");
  socket.close(1000, "enough");
  const [code] = await once(socket, "close");
  assert.equal(code, 1000);
  server.close();
}

async function main() {
  await check(http.createServer(), "ws", new HttpProxyAgent(proxy));
  await check(http.createServer(), "ws", new HttpsProxyAgent(proxy));
  await check(https.createServer({ cert, key }), "wss", new HttpsProxyAgent(proxy));
  process.stdout.write("all came back", () => process.exit());
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
