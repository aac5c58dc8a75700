// npm's ws as a client: client_ws.mjs NAME=URL...

import { createRequire } from "node:module";
import { join } from "node:path";
import { visit } from "./cells.mjs";

const load = createRequire(join(process.env.INTEROP_DIR, "package.json"));
const { WebSocket } = load("ws");

async function cells({ url, begins }) {
  const lines = [];
  const check = (cell, good, why) => lines.push(good ? `pass ${cell}` : `fail ${cell}: ${why}`);
  // What comes, in order: [event, arguments].
  const received = [];
  let wake;
  const open = () => {
    const socket = new WebSocket(url, ["nope", "chat"], { perMessageDeflate: { threshold: 0 } });
    for (const event of ["open", "message", "pong", "close", "error"]) {
      socket.on(event, (...values) => {
        received.push([event, ...values]);
        wake?.();
      });
    }
    return socket;
  };
  let socket = open();
  const next = async (event) => {
    const timer = setTimeout(() => socket.terminate(), 15_000);
    while (!received.length) await new Promise((resolve) => (wake = resolve));
    clearTimeout(timer);
    const [got, ...values] = received.shift();
    if (got !== event) throw new Error(`${got} ${values.join(" ")} instead of ${event}`);
    return values;
  };
  try {
    await next("open");
    if (begins) {
      socket.send("ping");
      const [pong] = await next("message");
      check("ping", pong.toString() === "pong", pong);
      socket.send("fragments");
      const [whole] = await next("message");
      check("fragments", whole.toString() === "fragment", whole);
      socket.send("close");
      const [code, reason] = await next("close");
      const good = code === 4001 && reason.toString() === "bye";
      // Which Close of ours comes is told on the connection behind it.
      socket = open();
      await next("open");
      socket.close(4001, "bye");
      await next("close");
      socket = open();
      await next("open");
      socket.send("last");
      const [last] = await next("message");
      socket.close();
      await next("close");
      check("close", good && last.toString() === "4001 bye", `code ${code} "${reason}"; ours came as ${last}`);
      return lines;
    }

    check("subprotocol", socket.protocol === "chat", `"${socket.protocol}"`);
    if (socket.extensions.includes("permessage-deflate")) check("compression", true);

    for (const text of ["héllo 😀", ""]) socket.send(text);
    const texts = [await next("message"), await next("message")];
    const isText = ([data, binary], text) => !binary && data.toString() === text;
    check("text", isText(texts[0], "héllo 😀") && isText(texts[1], ""), texts.join());

    socket.send(Buffer.from([0, 1, 255]));
    const [bytes, binary] = await next("message");
    check("binary", binary && bytes.equals(Buffer.from([0, 1, 255])), bytes.toString("hex"));

    const large = Buffer.from({ length: 1 << 20 }).map((_, i) => (i * 31) ^ (i >> 7));
    socket.send(large);
    const [echoed] = await next("message");
    check("1 MiB", echoed.equals(large), `${echoed.length} bytes, or others`);

    socket.send("fra", { fin: false });
    socket.ping("between");
    socket.send("gment", { fin: true });
    const [pong] = await next("pong");
    check("ping", pong.toString() === "between", pong);
    const [whole] = await next("message");
    check("fragments", whole.toString() === "fragment", whole);

    socket.close(4001, "bye");
    const [code] = await next("close");
    check("close", code === 4001, `code ${code}`);
  } catch (error) {
    lines.push(`error ${error.message}`);
    socket.terminate();
  }
  return lines;
}

await visit(load("ws/package.json").version, cells);
