// A browser's WebSocket: client_browser.mjs chromium|firefox PROGRAM NAME=URL...
// The page is a blank one on loopback: from elsewhere browsers do not let it connect there.

import { createServer } from "node:http";
import { createRequire } from "node:module";
import { join } from "node:path";
import { cells, visit } from "./cells.mjs";

const playwright = createRequire(join(process.env.PLAYWRIGHT_DIR, "package.json"))("playwright-core");
const [name, executablePath] = process.argv.slice(2);
// Firefox as it is packaged speaks WebDriver BiDi, by which playwright drives it under this name.
const options = {
  chromium: { chromiumSandbox: false, args: ["--disable-gpu", "--disable-dev-shm-usage", "--disable-background-networking"] },
  firefox: { channel: "moz-firefox" },
}[name];

const blank = createServer((_, response) => response.setHeader("Content-Type", "text/html").end("<!doctype html>"));
await new Promise((resolve) => blank.listen(0, "127.0.0.1", resolve));
let browser;
try {
  browser = await playwright[name].launch({ executablePath, headless: true, timeout: 120_000, ...options });
} catch (error) {
  console.log(`error ${error.message}`);
  process.exit(1);
}
try {
  // The test's authority is no business of the system that the browser asks.
  const page = await (await browser.newContext({ ignoreHTTPSErrors: true })).newPage();
  await page.goto(`http://127.0.0.1:${blank.address().port}/`);
  await visit(browser.version(), (route) => page.evaluate(cells, route));
} finally {
  await browser.close();
  blank.closeAllConnections();
  blank.close();
}
