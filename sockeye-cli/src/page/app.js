// The page of `sockeye serve`: a chat over /chat, which speaks JSON in text messages, and a price chart (ticker.js).
// What peers wrote reaches the document as text only, never as HTML.

import { $, stayConnected, write } from './common.js';
import './ticker.js';

const NAME_LIMIT = 32;
const TEXT_LIMIT = 2000; // characters, as the server counts them
const SHOWN_MESSAGES = 500;

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
