// The page of `sockeye serve`: a chat over /chat and a price chart over /ticker, both JSON in text messages.
// What peers wrote reaches the document as text only, never as HTML.

const $ = (id) => document.getElementById(id);
const reducedMotion = matchMedia('(prefers-reduced-motion: reduce)');

const NAME_LIMIT = 32;
const TEXT_LIMIT = 2000; // characters, as the server counts them
const SHOWN_MESSAGES = 500;

// ---- a connection that comes back ----

const FIRST_WAIT = 1000; // milliseconds
const LAST_WAIT = 30_000;
// A server that accepts and closes at once must not be called every second: only a connection that stood
// this long, in milliseconds, starts the back-off anew.
const STEADY = 5000;

// Holds a WebSocket to `path` open. `on` has `state(name, retryAt)`, `message(object)` and `lost()`.
function stayConnected(path, on) {
  const scheme = location.protocol === 'https:' ? 'wss:' : 'ws:';
  let socket = null;
  let failures = 0;
  let retryTimer = 0;
  let steadyTimer = 0;

  function open() {
    clearTimeout(retryTimer);
    retryTimer = 0;
    on.state('connecting');
    const mine = new WebSocket(`${scheme}//${location.host}${path}`);
    socket = mine;
    mine.onopen = () => {
      if (mine !== socket) return;
      steadyTimer = setTimeout(() => { failures = 0; }, STEADY);
      on.state('open');
    };
    mine.onmessage = ({ data }) => {
      if (mine !== socket) return;
      const value = parse(data);
      if (value) on.message(value);
    };
    mine.onclose = () => { if (mine === socket) lost(); };
  }

  function lost() {
    socket = null;
    clearTimeout(steadyTimer);
    // The wait doubles up to half the maximum and the jitter doubles it again at most: 1–2 s, 2–4 s … 15–30 s.
    // Pages that one restart has cut off together do not come back together.
    const wait = Math.min(FIRST_WAIT * 2 ** failures, LAST_WAIT / 2) * (1 + Math.random());
    failures += 1;
    retryTimer = setTimeout(open, wait);
    on.lost?.();
    on.state('closed', Date.now() + wait);
  }

  function retry() { if (retryTimer) open(); }

  // The browser knows when a retry is worth more than the rest of the wait.
  addEventListener('online', retry);
  document.addEventListener('visibilitychange', () => { if (!document.hidden) retry(); });
  open();

  return {
    retry,
    send(value) {
      if (socket?.readyState !== WebSocket.OPEN) return false;
      socket.send(JSON.stringify(value));
      return true;
    },
    // Gives up on a connection that is open in name only, without waiting for its closing handshake.
    abandon() {
      if (!socket) return;
      const dead = socket;
      lost();
      dead.close();
    },
  };
}

function parse(data) {
  try {
    const value = JSON.parse(data);
    return value && typeof value === 'object' ? value : null;
  } catch {
    return null;
  }
}

// ---- chat: what is known ----

const chat = {
  state: 'connecting',
  retryAt: 0,
  wanted: null, // {room, name} to join whenever the connection opens
  joined: null, // {room, name} as the server confirmed them on this connection
  shownRoom: null, // the room whose messages are in the list
  unanswered: [], // commands in the order sent; the server answers them in that order
  roundTrip: null, // milliseconds
  gap: false, // the connection was lost since the last message shown
};

const length = (text) => [...text].length;

const remembered = {
  read(key) { try { return localStorage.getItem(`sockeye.${key}`); } catch { return null; } },
  write(key, value) { try { localStorage.setItem(`sockeye.${key}`, value); } catch { /* private mode: forget */ } },
};

function roomOfHash() {
  try { return decodeURIComponent(location.hash.slice(1)).trim().slice(0, NAME_LIMIT); } catch { return ''; }
}

function fishName() {
  const pick = (words) => words[Math.floor(Math.random() * words.length)];
  const manner = pick(['Merry', 'Sunny', 'Quiet', 'Brave', 'Curious', 'Gentle', 'Nimble', 'Lucky', 'Silver', 'Jolly']);
  const fish = pick(['Trout', 'Salmon', 'Minnow', 'Perch', 'Grayling', 'Char', 'Smelt', 'Guppy', 'Carp', 'Stickleback']);
  return `${manner} ${fish}`;
}

// ---- chat: commands ----

const connection = stayConnected('/chat', {
  state(state, retryAt = 0) {
    Object.assign(chat, { state, retryAt });
    if (state === 'open' && chat.wanted) command({ type: 'join', ...chat.wanted });
    showState();
  },
  lost() {
    // What was sent and never came back may not have arrived: give it back, unless something else is being
    // written already.
    const text = chat.unanswered.filter(({ type }) => type === 'say').map((sent) => sent.text).join(' ');
    if (text && !$('message').value) $('message').value = text;
    chat.unanswered = [];
    chat.gap = chat.joined !== null || chat.gap;
    chat.joined = null;
    chat.roundTrip = null;
    showPeople([]);
    showCount();
    notice('');
  },
  message(value) { receivers[value.type]?.(value); },
});

function command(value) {
  if (!connection.send(value)) return false;
  chat.unanswered.push({ ...value, at: performance.now() });
  return true;
}

// Takes the command that this answer belongs to off the list, and any before it that got no answer.
function answered(test) {
  const index = chat.unanswered.findIndex(test);
  return index < 0 ? null : chat.unanswered.splice(0, index + 1)[index];
}

const receivers = {
  __proto__: null, // a type is looked up among these only
  joined({ room, name, people }) {
    answered(({ type }) => type === 'join');
    room = String(room);
    name = String(name);
    if (chat.shownRoom !== room) {
      $('messages').replaceChildren();
      chat.gap = false;
    }
    chat.shownRoom = room;
    chat.joined = chat.wanted = { room, name };
    remembered.write('room', room);
    remembered.write('name', name);
    if (roomOfHash() !== room) history.replaceState(null, '', `#${encodeURIComponent(room)}`);
    write($('join-notice'), '');
    showPeople(people);
    showState();
  },
  people({ people }) { showPeople(people); },
  message({ name, text, at }) {
    name = String(name);
    text = String(text);
    // Names are not unique, so a message is ours when it is the answer to what we said.
    const sent = name === chat.joined?.name && answered((one) => one.type === 'say' && one.text === text);
    if (sent) chat.roundTrip = performance.now() - sent.at;
    showMessage(name, text, at, Boolean(sent));
    if (sent) showState();
  },
  error({ text }) {
    const refused = answered(() => true);
    if (refused?.type === 'join') chat.wanted = chat.joined;
    if (refused?.type === 'say' && !$('message').value) $('message').value = refused.text;
    write($(refused?.type === 'join' ? 'join-notice' : 'notice'), String(text));
    showState();
  },
};

function join() {
  const room = $('room').value.trim();
  const name = $('name').value.trim();
  $('name').setAttribute('aria-invalid', String(!name));
  $('room').setAttribute('aria-invalid', String(!room));
  if (!name || !room) {
    write($('join-notice'), name ? 'Which room? Any word will do.' : 'Please choose a name first.');
    $(name ? 'room' : 'name').focus();
    return;
  }
  write($('join-notice'), '');
  chat.wanted = { room, name };
  command({ type: 'join', ...chat.wanted });
  connection.retry();
  showState();
  if (!$('message').disabled) $('message').focus();
}

function say() {
  const text = $('message').value.trim();
  if (!text) return;
  if (length(text) > TEXT_LIMIT) return notice('That is too long for one message.');
  // Commands are answered in order, so the first words may follow a join that is still on its way.
  if (!chat.wanted || !command({ type: 'say', text })) return notice('Not connected. Your message waits here.');
  $('message').value = '';
  notice('');
  showCount();
  stickToEnd = true;
  scrollToEnd();
}

// ---- chat: what is shown ----

function showState() {
  const { state, joined, wanted, roundTrip } = chat;
  $('status').dataset.state = state;
  write($('status-text'), { connecting: 'Connecting', open: 'Connected', closed: 'Disconnected' }[state]);
  $('retry').hidden = state !== 'closed';
  showWait();
  if (state === 'open' && roundTrip !== null) {
    write($('status-more'), `· ${roundTrip < 1 ? 'under 1' : Math.round(roundTrip)} ms`);
  }

  const room = (joined ?? wanted)?.room;
  write($('room-title'), wanted ? `#${room}` : 'Not in a room');
  $('message').disabled = !wanted;
  $('message').placeholder = wanted ? `Message #${room}` : 'Join a room to write';
  $('send').disabled = !wanted || state !== 'open';

  const changed = wanted && ($('name').value.trim() !== wanted.name || $('room').value.trim() !== wanted.room);
  write($('join'), !wanted ? 'Join' : changed ? 'Change' : joined ? 'Joined' : 'Joining');
  $('join').toggleAttribute('data-quiet', Boolean(wanted && !changed));

  $('empty').hidden = $('messages').childElementCount > 0;
  const [title, words] = !wanted
    ? ['You are not in a room yet', 'Choose a name and a room, then press Join. People who open the same link land in the same room.']
    : !joined
      ? [`Waiting to join #${room}`, 'You will be let in as soon as the connection stands.']
      : [`It is quiet in #${room}`, 'Say something, or share this page’s link: it leads to this room.'];
  write($('empty-title'), title);
  write($('empty-text'), words);
}

function showWait() {
  const seconds = Math.max(0, Math.ceil((chat.retryAt - Date.now()) / 1000));
  write($('status-more'), chat.state === 'closed' ? `· next try in ${seconds} s` : '');
}

// Leaves unchanged text alone: a screen reader would read it again.
function write(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

function notice(text) { write($('notice'), text); }

function tone(name) {
  let hash = 0;
  for (const character of name) hash = (hash * 31 + character.codePointAt(0)) >>> 0;
  return `tone-${hash % 6}`;
}

function make(tag, className, text) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (text !== undefined) element.textContent = text;
  return element;
}

function fish(className) {
  const svg = document.createElementNS('http://www.w3.org/2000/svg', 'svg');
  svg.setAttribute('class', className);
  svg.setAttribute('aria-hidden', 'true');
  svg.setAttribute('viewBox', '-24 -13 48 23');
  // Drawn anew rather than by <use>: each takes the colour of its person.
  for (const shape of $('fish').children) svg.append(shape.cloneNode());
  return svg;
}

function showPeople(people) {
  const names = Array.isArray(people) ? people.map(String) : [];
  let mine = chat.joined?.name;
  $('people').replaceChildren(...names.map((name) => {
    const item = make('li');
    item.append(fish(tone(name)), make('bdi', '', name));
    item.title = name;
    if (name === mine) {
      item.append(make('span', 'you', 'you'));
      mine = undefined; // a namesake further down is somebody else
    }
    return item;
  }));
  $('crowd').hidden = names.length === 0;
  write($('people-count'), String(names.length));
  write($('people-noun'), names.length === 1 ? 'person' : 'people');
}

const clock = new Intl.DateTimeFormat(undefined, { hour: 'numeric', minute: '2-digit' });
const SAME_BREATH = 120_000; // milliseconds within which a name is not repeated
let previous = { name: null, at: 0, mine: false };
let unseen = 0;

function showMessage(name, text, at, mine) {
  const list = $('messages');
  const when = new Date(Number.isFinite(at) && Math.abs(at) < 8.64e15 ? at : Date.now());
  const item = make('li');
  const again = list.childElementCount > 0 && !chat.gap
    && name === previous.name && mine === previous.mine && when - previous.at < SAME_BREATH;
  item.classList.toggle('again', again);
  item.classList.toggle('mine', mine);
  item.classList.toggle('gap', chat.gap && list.childElementCount > 0);
  previous = { name, at: when, mine };
  chat.gap = false;

  const who = make('bdi', `who ${tone(name)}`, name);
  who.title = name;
  const time = make('time', '', clock.format(when));
  time.dateTime = when.toISOString();
  const words = make('p', 'text', text);
  words.dir = 'auto';
  // The spaces are for those who hear or copy the line.
  item.append(who, ' ', time, ' ', words);
  list.append(item);
  while (list.childElementCount > SHOWN_MESSAGES) list.firstElementChild.remove();

  $('empty').hidden = true;
  if (stickToEnd) scrollToEnd();
  else $('latest').hidden = false;
  if (document.hidden) {
    unseen += 1;
    document.title = `(${unseen}) Sockeye`;
  }
}

let stickToEnd = true;
let logHeight = 0;
let scrollQueued = false;

function scrollToEnd() {
  $('latest').hidden = true;
  if (scrollQueued) return;
  scrollQueued = true;
  requestAnimationFrame(() => {
    scrollQueued = false;
    $('log').scrollTop = $('log').scrollHeight;
  });
}

function showCount() {
  const used = length($('message').value);
  const count = $('count');
  count.hidden = used < TEXT_LIMIT * 0.9;
  count.toggleAttribute('data-over', used > TEXT_LIMIT);
  write(count, `${used} of ${TEXT_LIMIT}`);
}

// ---- chat: what people do ----

$('join-form').addEventListener('submit', (event) => { event.preventDefault(); join(); });
$('say-form').addEventListener('submit', (event) => { event.preventDefault(); say(); });
$('message').addEventListener('input', () => { notice(''); showCount(); });
$('retry').addEventListener('click', () => connection.retry());
$('latest').addEventListener('click', () => { stickToEnd = true; scrollToEnd(); });
for (const field of [$('name'), $('room')]) {
  field.addEventListener('input', () => { field.removeAttribute('aria-invalid'); showState(); });
}

$('log').addEventListener('scroll', () => {
  const { scrollTop, scrollHeight, clientHeight } = $('log');
  // A list that changed its size was not scrolled by its reader.
  if (clientHeight !== logHeight) return;
  stickToEnd = scrollHeight - scrollTop - clientHeight < 60;
  if (stickToEnd) $('latest').hidden = true;
}, { passive: true });
// The keyboard comes up: the last message stays in sight.
new ResizeObserver(() => {
  logHeight = $('log').clientHeight;
  if (stickToEnd) scrollToEnd();
}).observe($('log'));

// A link to another room, followed inside the page, is a wish to go there.
addEventListener('hashchange', () => {
  const room = roomOfHash();
  if (!room || room === chat.wanted?.room) return;
  $('room').value = room;
  if (chat.wanted) join();
  else showState();
});

document.addEventListener('visibilitychange', () => {
  if (document.hidden) return;
  unseen = 0;
  document.title = 'Sockeye';
});

setInterval(() => { if (chat.state === 'closed') showWait(); }, 500);

$('name').value = remembered.read('name') || fishName();
$('room').value = roomOfHash() || remembered.read('room') || 'lobby';
showState();

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

// ---- the page around them ----

// iOS lays the keyboard over the page instead of shrinking it; only the visual viewport tells.
function fit() {
  const height = visualViewport?.height ?? innerHeight;
  if (visualViewport && visualViewport.scale === 1) {
    document.documentElement.style.setProperty('--page-height', `${height}px`);
    scrollTo(0, 0);
  }
  document.documentElement.classList.toggle('short', height < 500);
}
visualViewport?.addEventListener('resize', fit);
addEventListener('resize', fit);
fit();

const wide = matchMedia('(min-width: 761px)');
const unfold = () => { $('terminal').open = wide.matches; };
wide.addEventListener('change', unfold);
unfold();

const secure = location.protocol === 'https:';
write($('hint-connect'), `sockeye connect ${secure ? 'wss' : 'ws'}://${location.host}/echo`);
write($('hint-curl'), 'curl -i -N -H "Connection: Upgrade" -H "Upgrade: websocket" -H "Sec-WebSocket-Version: 13" '
  + `-H "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==" ${location.origin}/echo`);

for (const button of document.querySelectorAll('[data-copy]')) {
  button.addEventListener('click', async () => {
    const code = $(button.dataset.copy);
    try {
      await navigator.clipboard.writeText(code.textContent);
      button.firstChild.data = 'Copied';
    } catch {
      // Outside a secure context there is no clipboard: select the line for the reader to copy.
      getSelection().selectAllChildren(code);
      button.firstChild.data = 'Selected';
    }
    setTimeout(() => { button.firstChild.data = 'Copy'; }, 2000);
  });
}
