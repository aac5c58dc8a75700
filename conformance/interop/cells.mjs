// The cells of the conformance table for whoever has the browser's WebSocket: Chromium, Firefox, undici, Node.js itself.
// That API can send neither a ping nor a fragment. By the route `begins` they come from the server, which is asked for them.
//
// There it also tells which Close of ours it got: on one connection we close, on the next we ask.
//
// `cells` is also sent into browsers as source, so it uses nothing from outside of itself.

/** Answers with one line a cell, `pass CELL` or `fail CELL: WHY`. */
export async function cells({ url, begins }, WebSocket = globalThis.WebSocket) {
  const lines = [];
  const check = (cell, good, why) => lines.push(good ? `pass ${cell}` : `fail ${cell}: ${why}`);
  const within = (promise, what) =>
    Promise.race([
      promise,
      new Promise((_, reject) => setTimeout(() => reject(new Error(`no ${what} within 15 s`)), 15_000)),
    ]);
  const received = [];
  const waiting = [];
  const next = () =>
    within(received.length ? received.shift() : new Promise((resolve) => waiting.push(resolve)), "message");

  const open = async () => {
    const socket = new WebSocket(url, ["nope", "chat"]);
    socket.binaryType = "arraybuffer";
    socket.onmessage = ({ data }) => (waiting.length ? waiting.shift()(data) : received.push(data));
    const closed = new Promise((resolve) => (socket.onclose = resolve));
    const opened = new Promise((resolve) => (socket.onopen = resolve));
    const refused = closed.then(({ code }) => Promise.reject(new Error(`closed with ${code} before it was open`)));
    await within(Promise.race([opened, refused]), "connection");
    return { socket, closed: () => within(closed, "close event") };
  };
  try {
    const { socket, closed } = await open();

    if (begins) {
      socket.send("ping");
      const pong = await next();
      check("ping", pong === "pong", pong);
      socket.send("fragments");
      const whole = await next();
      check("fragments", whole === "fragment", whole);
      socket.send("close");
      const { code, reason, wasClean } = await closed();
      const good = code === 4001 && reason === "bye" && wasClean;
      const ours = await open();
      ours.socket.close(4001, "bye");
      await ours.closed();
      const asking = await open();
      asking.socket.send("last");
      const last = await next();
      asking.socket.close();
      check("close", good && last === "4001 bye", `code ${code} "${reason}", clean ${wasClean}; ours came as ${last}`);
      return lines;
    }

    check("subprotocol", socket.protocol === "chat", `"${socket.protocol}"`);
    if (socket.extensions.includes("permessage-deflate")) check("compression", true);

    for (const text of ["héllo 😀", ""]) socket.send(text);
    const texts = [await next(), await next()];
    check("text", texts[0] === "héllo 😀" && texts[1] === "", JSON.stringify(texts));

    socket.send(new Uint8Array([0, 1, 255]));
    const bytes = new Uint8Array(await next());
    check("binary", bytes.join() === "0,1,255", bytes.join());

    const large = Uint8Array.from({ length: 1 << 20 }, (_, i) => (i * 31) ^ (i >> 7));
    socket.send(large);
    const echoed = new Uint8Array(await next());
    const same = echoed.length === large.length && echoed.every((byte, i) => byte === large[i]);
    check("1 MiB", same, `${echoed.length} bytes, or others`);

    socket.close(4001, "bye");
    const { code, wasClean } = await closed();
    check("close", code === 4001 && wasClean, `code ${code}, clean ${wasClean}`);
  } catch (error) {
    lines.push(`error ${error.message}`);
  }
  return lines;
}

/** Runs `cells` for each `NAME=URL` of the command line. */
export async function visit(version, cells) {
  console.log(`version ${version}`);
  for (const route of process.argv.slice(2).filter((argument) => argument.includes("="))) {
    const [name, url] = route.split(/=(.*)/s);
    console.log(`route ${name}`);
    for (const line of await cells({ url, begins: name === "begins" })) console.log(line);
  }
}
