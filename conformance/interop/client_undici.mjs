// The WebSocket of npm's undici, or, with --builtin, that of Node.js: client_undici.mjs [--builtin] NAME=URL...
// Node.js trusts the test's authority by NODE_EXTRA_CA_CERTS.

import { createRequire } from "node:module";
import { join } from "node:path";
import { cells, visit } from "./cells.mjs";

const load = createRequire(join(process.env.INTEROP_DIR, "package.json"));
if (process.argv.includes("--builtin")) {
  await visit(process.versions.node, cells);
} else {
  const { WebSocket } = load("undici");
  await visit(load("undici/package.json").version, (route) => cells(route, WebSocket));
}
// An undici connection that was refused may hold the process.
process.exit();
