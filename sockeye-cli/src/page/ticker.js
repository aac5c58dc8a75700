// A price chart over /ticker, which speaks JSON in text messages: a history first, and then five ticks a second.

import { $, stayConnected, write } from './common.js';

const reducedMotion = matchMedia('(prefers-reduced-motion: reduce)');

// ---- the ticker: what is known ----

const KEPT_TICKS = 600;
const STALL = 10_000; // milliseconds without a tick, of which five a second are due

const ticker = {
  symbol: 'SOCK',
  ticks: [], // {price, at}, oldest first
  received: 0,
  live: false,
  lastLocal: 0, // performance.now() of the latest tick
};

const feed = stayConnected('/ticker', {
  state(state) {
    ticker.live = state === 'open';
    ticker.lastLocal = performance.now();
    if (state === 'closed') showPrice();
  },
  message({ type, symbol, ticks, price, at }) {
    const valid = (tick) => Number.isFinite(tick?.price) && Number.isFinite(tick?.at);
    if (type === 'history' && Array.isArray(ticks)) {
      ticker.ticks = ticks.filter(valid).map((tick) => ({ price: tick.price, at: tick.at }));
      ticker.received += ticker.ticks.length;
    } else if (type === 'tick' && valid({ price, at })) {
      // One that the history had already.
      if (at === ticker.ticks.at(-1)?.at) return;
      // A clock that was set back would make the line run backwards: start anew.
      if (at < ticker.ticks.at(-1)?.at) ticker.ticks = [];
      ticker.ticks.push({ price, at });
      ticker.received += 1;
    } else {
      return;
    }
    if (ticker.ticks.length > KEPT_TICKS) ticker.ticks.splice(0, ticker.ticks.length - KEPT_TICKS);
    if (typeof symbol === 'string') ticker.symbol = symbol;
    ticker.lastLocal = performance.now();
    $('ticker').dataset.points = ticker.received;
    showPrice();
    wake();
  },
});

// A feed that should speak five times a second and does not is dead, whatever TCP believes.
setInterval(() => {
  if (ticker.live && performance.now() - ticker.lastLocal > STALL) feed.abandon();
}, 2500);

const money = new Intl.NumberFormat('en', { minimumFractionDigits: 2, maximumFractionDigits: 2, useGrouping: false });
let describedAt = -Infinity;

function showPrice() {
  const { ticks, live, symbol } = ticker;
  const last = ticks.at(-1);
  if (!last) return write($('ticker-change'), live ? 'waiting for ticks' : 'reconnecting');
  write($('ticker-symbol'), symbol);
  write($('ticker-price'), money.format(last.price));
  const change = last.price - ticks[0].price;
  const seconds = Math.round((last.at - ticks[0].at) / 1000);
  const sign = change < 0 ? '−' : '+';
  $('ticker-change').dataset.way = !live || Math.abs(change) < 0.005 ? '' : change < 0 ? 'down' : 'up';
  write($('ticker-change'), live ? `${sign}${money.format(Math.abs(change))} in ${seconds} s` : 'reconnecting');
  if (performance.now() - describedAt > 10_000) {
    describedAt = performance.now();
    const prices = ticks.map(({ price }) => price);
    $('ticker').setAttribute('aria-label', `Price of ${symbol} over ${seconds} seconds: lowest `
      + `${money.format(Math.min(...prices))}, highest ${money.format(Math.max(...prices))}, now ${money.format(last.price)}`);
  }
}

// ---- the ticker: the chart ----

const SPEED = 34; // pixels a second
// The line is drawn this many milliseconds late, so that the next tick is there before its head needs it.
const LATENESS = 240;

const chart = { width: 0, height: 0, top: 0, colors: {}, low: NaN, high: NaN, time: NaN, tilt: 0, frame: 0, drawnAt: 0 };
const fishShapes = [...$('fish').querySelectorAll('path')].map((path) => new Path2D(path.getAttribute('d')));

function measure() {
  const canvas = $('ticker');
  const scale = Math.min(devicePixelRatio || 1, 3);
  chart.width = canvas.clientWidth;
  chart.height = canvas.clientHeight;
  chart.top = $('bank').offsetHeight + 20;
  canvas.width = Math.round(chart.width * scale);
  canvas.height = Math.round(chart.height * scale);
  canvas.getContext('2d').setTransform(scale, 0, 0, scale, 0, 0);
  const style = getComputedStyle(document.documentElement);
  for (const name of ['water', 'surface', 'muted', 'fish-body', 'fish-head', 'fish-eye', 'sans']) {
    chart.colors[name] = style.getPropertyValue(`--${name}`).trim();
  }
  draw(performance.now());
}

function wake() {
  if (!chart.frame) chart.frame = requestAnimationFrame(frame);
}

function frame(now) {
  chart.frame = 0;
  // Without motion the picture is a new one each second; nothing glides.
  if (reducedMotion.matches && now - chart.drawnAt < 1000) return;
  draw(now);
  // The line comes to rest when ticks stop coming.
  if (!reducedMotion.matches && now - ticker.lastLocal < 2000) wake();
}

// The price at time `at`, on the straight line between the ticks around it.
function priceAt(at) {
  const { ticks } = ticker;
  const after = ticks.findLastIndex((tick) => tick.at <= at) + 1;
  if (after <= 0) return ticks[0].price;
  if (after >= ticks.length) return ticks.at(-1).price;
  const [a, b] = [ticks[after - 1], ticks[after]];
  return a.price + (b.price - a.price) * ((at - a.at) / (b.at - a.at || 1));
}

// Moves the chart's clock and scale a step towards where the ticks are.
function advance(now, visible) {
  const step = Math.min(now - chart.drawnAt, 100);
  chart.drawnAt = now;
  const last = ticker.ticks.at(-1).at;
  const still = reducedMotion.matches;
  const target = still ? last : Math.min(last, last + (now - ticker.lastLocal) - LATENESS);
  const jump = still || !(Math.abs(target - chart.time) < 3000);
  chart.time = jump ? target : Math.max(chart.time, chart.time + step + (target - chart.time - step) * (1 - Math.exp(-step / 200)));

  const from = chart.time - visible;
  const prices = ticker.ticks.filter((tick) => tick.at >= from - 500).map(({ price }) => price);
  const [min, max] = [Math.min(...prices), Math.max(...prices)];
  const spare = Math.max(0, Math.max(0.5, max * 0.004) - (max - min)) / 2;
  const ease = still || Number.isNaN(chart.low) ? 1 : 1 - Math.exp(-step / 350);
  if (Number.isNaN(chart.low)) [chart.low, chart.high] = [min, max];
  chart.low += (min - spare - chart.low) * ease;
  chart.high += (max + spare - chart.high) * ease;
}

function draw(now) {
  const { width, height, top, colors } = chart;
  const context = $('ticker').getContext('2d');
  context.clearRect(0, 0, width, height);
  const bottom = height - 18;
  if (ticker.ticks.length === 0) {
    context.fillStyle = colors.water;
    context.fillRect(0, (top + bottom) / 2, width, height);
    return;
  }
  const head = width - (width < 760 ? 88 : 108);
  advance(now, (head / SPEED) * 1000);

  const x = (at) => head - ((chart.time - at) / 1000) * SPEED;
  const y = (price) => bottom - ((price - chart.low) / (chart.high - chart.low)) * (bottom - top);
  const points = ticker.ticks.filter((tick) => tick.at < chart.time && x(tick.at) > -40).map((tick) => [x(tick.at), y(tick.price)]);
  points.push([head, y(priceAt(chart.time))]);

  const line = new Path2D();
  line.moveTo(...points[0]);
  for (const point of points.slice(1)) line.lineTo(...point);
  fillWater(context, points);
  drawScale(context, y);
  context.strokeStyle = colors.surface;
  context.globalAlpha = ticker.live ? 1 : 0.45;
  context.lineWidth = 2;
  context.lineJoin = context.lineCap = 'round';
  context.stroke(line);
  drawFish(context, head, points.at(-1)[1], y(priceAt(chart.time - 900)));
  context.globalAlpha = 1;
}

// Below the line is water, and the page goes on in the same colour. Where no tick is known it lies flat.
function fillWater(context, points) {
  const { width, height, colors } = chart;
  context.beginPath();
  context.moveTo(-1, height);
  context.lineTo(-1, points[0][1]);
  for (const point of points) context.lineTo(...point);
  context.lineTo(width + 1, points.at(-1)[1]);
  context.lineTo(width + 1, height);
  context.closePath();
  context.fillStyle = colors.water;
  context.fill();
}

function drawScale(context, y) {
  const { width, colors } = chart;
  const range = chart.high - chart.low;
  const power = 10 ** Math.floor(Math.log10(range / 4));
  const room = (chart.height - chart.top) / 34; // lines that stand apart
  const step = [1, 2, 5, 10].map((n) => n * power).find((size) => range / size <= room) ?? 10 * power;
  context.font = `500 12px ${colors.sans}`;
  context.textAlign = 'right';
  context.textBaseline = 'middle';
  for (let n = Math.ceil(chart.low / step); n * step <= chart.high; n += 1) {
    const at = Math.round(y(n * step)) + 0.5;
    context.fillStyle = colors.muted;
    context.fillText(money.format(n * step), width - 12, at);
    context.globalAlpha = 0.22;
    context.fillRect(0, at - 0.5, width - 60, 1);
    context.globalAlpha = 1;
  }
}

function drawFish(context, x, y, before) {
  const goal = Math.max(-0.5, Math.min(0.5, Math.atan2(y - before, 0.9 * SPEED)));
  chart.tilt += (goal - chart.tilt) * (reducedMotion.matches ? 1 : 0.06);
  context.save();
  context.translate(x, y);
  context.rotate(chart.tilt);
  ['fish-body', 'fish-head'].forEach((name, index) => {
    context.fillStyle = chart.colors[name];
    context.fill(fishShapes[index]);
  });
  context.fillStyle = chart.colors['fish-eye'];
  context.beginPath();
  context.arc(16.2, -1.5, 1.2, 0, 7);
  context.fill();
  context.restore();
}

new ResizeObserver(measure).observe($('ticker'));
matchMedia('(prefers-color-scheme: dark)').addEventListener('change', measure);
