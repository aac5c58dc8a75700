// npm's ws as an echo server: server_ws.mjs [CERTIFICATES]   with a directory of certificates it serves wss:
// The message "close" is answered by a Close frame with code 4001 and the reason "bye".

import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { createServer as createSecureServer } from "node:https";
import { createRequire } from "node:module";
import { join } from "node:path";

const load = createRequire(join(process.env.INTEROP_DIR, "package.json"));
const { WebSocketServer } = load("ws");

const certificates = process.argv[2];
const read = (name) => readFileSync(join(certificates, name));
const server = certificates ? createSecureServer({ cert: read("cert.pem"), key: read("key.pem") }) : createServer();
const sockets = new WebSocketServer({
  server,
  perMessageDeflate: { threshold: 0 },
  handleProtocols: (offered) => offered.has("chat") && "chat",
});
sockets.on("connection", (socket) => {
  socket.on("message", (data, binary) => {
    if (!binary && data.toString() === "close") socket.close(4001, "bye");
    else socket.send(data, { binary });
  });
  socket.on("error", (error) => console.error(error.message));
});
server.listen(0, "127.0.0.1", () => {
  const scheme = certificates ? "wss" : "ws";
  console.log(`listening on ${scheme}://127.0.0.1:${server.address().port}/`);
});
