// Node's ws: the echo of its README, with bufferutil, which its README recommends for speed.
//
// Started as the Rust servers are: [--port N] [--deflate] [--tls CERT KEY]. There is no batched mode: ws writes each
// message to its socket, and offers no call that would gather several.
'use strict';

const fs = require('node:fs');
const http = require('node:http');
const https = require('node:https');
const { WebSocketServer } = require('ws');

const MESSAGE_LIMIT = 64 << 20;
const USAGE = 'usage: node-ws [--port N] [--deflate] [--tls CERT KEY]';

function refuse(reason) {
  console.error(reason);
  process.exit(2);
}

function parse(args) {
  const options = { port: 0, deflate: false, tls: null };
  while (args.length > 0) {
    const arg = args.shift();
    if (arg === '--port' && /^\d+$/.test(args[0] ?? '')) {
      options.port = Number(args.shift());
    } else if (arg === '--deflate') {
      options.deflate = true;
    } else if (arg === '--tls' && args.length >= 2) {
      options.tls = { cert: fs.readFileSync(args.shift()), key: fs.readFileSync(args.shift()) };
    } else if (arg === '--batched') {
      refuse('node-ws offers no way to send several messages in one write.');
    } else {
      refuse(USAGE);
    }
  }
  return options;
}

const options = parse(process.argv.slice(2));
const server = options.tls ? https.createServer(options.tls) : http.createServer();
const wss = new WebSocketServer({
  server,
  maxPayload: MESSAGE_LIMIT,
  // A threshold of 0 compresses every message, as the other servers do; the level is zlib's default, 6.
  perMessageDeflate: options.deflate && {
    serverNoContextTakeover: true,
    clientNoContextTakeover: true,
    threshold: 0,
    zlibDeflateOptions: { level: 6 },
  },
});

wss.on('connection', (ws) => {
  // Whoever breaks the protocol is closed by ws; without a listener the error would end the process.
  ws.on('error', () => {});
  ws.on('message', (data, isBinary) => ws.send(data, { binary: isBinary }));
});

server.listen({ port: options.port, host: '127.0.0.1', backlog: 4096, noDelay: true }, () => {
  console.log(`listening 127.0.0.1:${server.address().port}`);
});
