// Opens the page of `sockeye serve` in two tabs of headless Chromium: they join a room under two names, chat both
// ways, and see the ticker move. Prints one PASS or FAIL line a check; the exit status is 1 after a FAIL.
//
// usage: node check.mjs --url URL --chromium PROGRAM --modules DIR [--screenshots DIR]
//   --modules      the directory whose node_modules holds playwright-core
//   --screenshots  where light.png, dark.png and phone.png (390 by 844) go
//
// What it relies on in the page: #name and #room (inputs), #join (button), #message (input), #send (button),
// #messages (a list of li), #status[data-state=connecting|open|closed], #ticker-price (text), #ticker[data-points].

import { mkdtempSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";

const { values: options } = parseArgs({
  options: {
    url: { type: "string" },
    chromium: { type: "string" },
    modules: { type: "string" },
    screenshots: { type: "string" },
  },
});
const { chromium } = createRequire(resolve(options.modules, "package.json"))("playwright-core");

// How long anything on the page may take, in milliseconds. Generous: the machine may be busy.
const PATIENCE = 20_000;

let failed = false;
async function check(name, action) {
  try {
    const detail = await action();
    console.log(`PASS ${name}${detail === undefined ? "" : `: ${detail}`}`);
  } catch (error) {
    failed = true;
    console.log(`FAIL ${name}: ${String(error.message ?? error).split("\n")[0]}`);
  }
}

function expect(condition, otherwise) {
  if (!condition) throw new Error(otherwise);
}

const profile = mkdtempSync(join(tmpdir(), "sockeye-page-"));
const browser = await chromium.launchPersistentContext(profile, {
  executablePath: options.chromium,
  headless: true,
  chromiumSandbox: false,
  args: [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
  ],
});
browser.setDefaultTimeout(PATIENCE);

// What a page says about its own faults. A missing favicon is none of them.
const complaints = [];
function listen(page, who) {
  page.on("console", (message) => {
    if (message.type() === "error" && !message.location().url.endsWith("/favicon.ico")) {
      complaints.push(`${who}: ${message.text()}`);
    }
  });
  page.on("pageerror", (error) => complaints.push(`${who}: ${error.message}`));
}

async function open(who) {
  const page = await browser.newPage();
  listen(page, who);
  await page.goto(options.url);
  return page;
}

async function joinRoom(page, name, room) {
  await page.fill("#name", name);
  await page.fill("#room", room);
  await page.click("#join");
  await page.waitForSelector('#status[data-state="open"]', { state: "attached" });
}

// Sends `text` from one tab and waits for it in both: the sender sees what the room sees.
async function say(from, others, text) {
  await from.fill("#message", text);
  await from.click("#send");
  for (const page of [from, ...others]) {
    await page.locator("#messages li", { hasText: text }).first().waitFor({ state: "attached" });
  }
}

async function tickerMoves(page) {
  await page.waitForFunction(() => Number(document.querySelector("#ticker").dataset.points) > 0);
  const before = await page.evaluate(() => Number(document.querySelector("#ticker").dataset.points));
  await page.waitForFunction(
    (before) => Number(document.querySelector("#ticker").dataset.points) >= before + 3,
    before,
  );
  const price = (await page.textContent("#ticker-price")).trim();
  expect(/\d/.test(price), `the price is "${price}"`);
  const after = await page.evaluate(() => Number(document.querySelector("#ticker").dataset.points));
  return `${before} to ${after} points, price ${price}`;
}

// What has been drawn, as bytes: a canvas or an SVG that changes is a chart that moves.
async function chartChanges(page) {
  const chart = page.locator("#ticker");
  const first = await chart.screenshot();
  const end = Date.now() + PATIENCE;
  while (Date.now() < end) {
    const points = await page.evaluate(() => Number(document.querySelector("#ticker").dataset.points));
    await page.waitForFunction(
      (points) => Number(document.querySelector("#ticker").dataset.points) > points,
      points,
    );
    if (!first.equals(await chart.screenshot())) return undefined;
  }
  throw new Error("the picture stays the same");
}

async function screenshots(page, directory) {
  const shots = [
    ["light", "light", 1280, 900],
    ["dark", "dark", 1280, 900],
    ["phone", "light", 390, 844],
    ["phone-dark", "dark", 390, 844],
  ];
  for (const [name, colorScheme, width, height] of shots) {
    await page.emulateMedia({ colorScheme });
    await page.setViewportSize({ width, height });
    // A chart may be drawn anew for the size and colours; the next point draws it in any case.
    const points = await page.evaluate(() => Number(document.querySelector("#ticker").dataset.points));
    await page.waitForFunction(
      (points) => Number(document.querySelector("#ticker").dataset.points) > points + 1,
      points,
    );
    await page.screenshot({ path: join(directory, `${name}.png`), fullPage: true });
  }
  return `${shots.length} files in ${directory}`;
}

try {
  // A room of its own: a server that was given by its URL may have visitors.
  const room = `check-${process.pid}`;
  let ada, bob;
  await check("the page opens in two tabs", async () => {
    ada = await open("Ada");
    bob = await open("Bob");
  });
  await check("two names join a room", async () => {
    await joinRoom(ada, "Ada", room);
    await joinRoom(bob, "Bob", room);
  });
  await check("a message goes from the first tab to the second", () => say(ada, [bob], "Hello, Bob! <b>é</b> 🐟"));
  await check("a message goes from the second tab to the first", () => say(bob, [ada], "Hello, Ada & all."));
  await check("a message carries the name of its sender", async () => {
    const text = await ada.locator("#messages li", { hasText: "Hello, Ada & all." }).first().textContent();
    expect(text.includes("Bob"), `it reads "${text}"`);
  });
  await check("markup in a message stays text", async () => {
    expect((await bob.locator("#messages li b", { hasText: "é" }).count()) === 0, "the <b> became an element");
  });
  await check("another room hears nothing", async () => {
    const eve = await open("Eve");
    await joinRoom(eve, "Eve", `${room}-other`);
    await say(ada, [bob], "Only for this room.");
    await say(eve, [], "And this for mine.");
    const heard = await eve.locator("#messages li", { hasText: "Only for this room." }).count();
    expect(heard === 0, "it heard the first room");
    await eve.close();
  });
  await check("the ticker receives points", () => tickerMoves(ada));
  await check("the chart moves", () => chartChanges(ada));
  await check("nothing is wider than a phone", async () => {
    await bob.setViewportSize({ width: 390, height: 844 });
    const width = await bob.evaluate(() => document.documentElement.scrollWidth);
    expect(width <= 390, `the page is ${width} pixels wide on a screen of 390`);
  });
  if (options.screenshots) {
    await check("screenshots", () => screenshots(ada, options.screenshots));
  }
  await check("the console shows no error", async () => {
    expect(complaints.length === 0, complaints.join(" | "));
  });
} catch (error) {
  failed = true;
  console.log(`FAIL the check itself: ${error.stack ?? error}`);
} finally {
  await browser.close();
  rmSync(profile, { recursive: true, force: true });
}
process.exitCode = failed ? 1 : 0;
