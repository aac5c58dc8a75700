//! M8: subscribers who never read, beside others who do. The others get everything, in order; what waits for the slow ones
//! stays within their limits; and the policy decides what becomes of them.
//!
//! By default 60 subscribers, 6 of them slow, and 16 MiB for each. `SOCKEYE_SLOW_READERS="SUBSCRIBERS SLOW BYTES"` sets other
//! sizes: `"1000 100 1000000000"` is the one that is stated in `docs/engine.md`, which takes some minutes in an optimised
//! build.

use std::alloc::System;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use cap::Cap;
use sockeye_engine::{
    Cause, Decision, Delivery, End, Engine, Handler, Payload, ServerOptions, SlowSubscriber, Socket, Upgrade,
};
use tokio::io::AsyncReadExt;

#[global_allocator]
static HEAP: Cap<System> = Cap::new(System, usize::MAX);

static TURN: Mutex<()> = Mutex::new(());

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// The payload of a message, in bytes: its number, eight times, and zeroes.
const MESSAGE: usize = 16 * 1024;

/// As a frame: a header with a length of two bytes.
const FRAME: usize = MESSAGE + 4;

/// What may wait for a subscriber, in bytes: the default.
const LIMIT: usize = 64 * 1024;

/// Messages that are on their way to those who read, at most: so many as always have room.
const WINDOW: u64 = (LIMIT / FRAME) as u64;

/// What the server may take besides, in bytes: pooled buffers and what is on its way in a shard.
const CONSTANT: usize = 10 << 20;

struct Size {
    subscribers: usize,
    slow: usize,
    messages: u64,
}

impl Size {
    fn of_this_run() -> Self {
        let (mut subscribers, mut slow, mut bytes) = (60, 6, 16 << 20);
        if let Ok(size) = std::env::var("SOCKEYE_SLOW_READERS") {
            let mut numbers = size.split(' ').map(|number| number.parse::<u64>().unwrap());
            let mut next = || numbers.next().unwrap();
            (subscribers, slow, bytes) = (next() as usize, next() as usize, next());
        }
        let messages = bytes / MESSAGE as u64;
        Self {
            subscribers,
            slow,
            messages,
        }
    }
}

/// What the handler was told.
#[derive(Debug, Default)]
struct Told {
    subscribed: AtomicUsize,
    dropped: AtomicU64,
    too_slow: AtomicUsize,
}

struct Subscribe(Arc<Told>);

impl Handler for Subscribe {
    type Data = ();

    fn upgrade(&mut self, _request: &mut Upgrade<'_, ()>) -> Decision<()> {
        Decision::Accept(())
    }

    fn open(&mut self, socket: &mut Socket<'_, ()>) {
        assert_eq!(socket.subscribe("news"), Ok(true));
        self.0.subscribed.fetch_add(1, Ordering::Relaxed);
    }

    fn message(&mut self, _socket: &mut Socket<'_, ()>, _message: Payload<'_>) {}

    fn dropped(&mut self, _socket: &mut Socket<'_, ()>, message: Payload<'_>) {
        assert_eq!(message.as_bytes().len(), MESSAGE);
        self.0.dropped.fetch_add(1, Ordering::Relaxed);
    }

    fn close(&mut self, (): (), end: End<'_>) {
        if end.cause == Some(Cause::TooSlow) {
            self.0.too_slow.fetch_add(1, Ordering::Relaxed);
        }
    }
}

fn turn() -> MutexGuard<'static, ()> {
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

fn connect(engine: &Engine) -> TcpStream {
    let mut client = TcpStream::connect(engine.local_addrs()[0]).unwrap();
    client.write_all(REQUEST).unwrap();
    let (mut byte, mut end) = ([0; 1], [0; 4]);
    while end != *b"\r\n\r\n" {
        client.read_exact(&mut byte).unwrap();
        end = [end[1], end[2], end[3], byte[0]];
    }
    client
}

fn metric(engine: &Engine, name: &str) -> u64 {
    let text = engine.metrics();
    let mut lines = text.lines().filter_map(|line| line.strip_prefix("sockeye_engine_"));
    let value = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    value.unwrap().parse().unwrap()
}

/// Reads all messages, notes after each how many have come, and checks that each is the next one and whole.
async fn read(client: TcpStream, messages: u64, come: Arc<AtomicU64>) {
    client.set_nonblocking(true).unwrap();
    let mut client = tokio::net::TcpStream::from_std(client).unwrap();
    let mut frame = vec![0; FRAME];
    for number in 0..messages {
        client.read_exact(&mut frame).await.unwrap();
        assert_eq!(frame[..4], [0x82, 126, (MESSAGE >> 8) as u8, MESSAGE as u8]);
        assert_eq!(frame[4..12], number.to_be_bytes(), "in order");
        assert_eq!(frame[FRAME - 8..], number.to_be_bytes(), "and whole");
        come.store(number + 1, Ordering::Release);
    }
}

/// Publishes these messages, never more than the window ahead of the slowest of those who read.
fn publish(engine: &Engine, numbers: std::ops::Range<u64>, come: &[Arc<AtomicU64>]) {
    let publisher = engine.publisher();
    let mut message = vec![0; MESSAGE];
    let mut all_have = 0;
    for number in numbers {
        while number >= all_have + WINDOW {
            all_have = come.iter().map(|come| come.load(Ordering::Acquire)).min().unwrap();
            thread::yield_now();
        }
        message[..8].copy_from_slice(&number.to_be_bytes());
        message[MESSAGE - 8..].copy_from_slice(&number.to_be_bytes());
        assert_eq!(publisher.publish("news", &*message), Ok(Delivery::Queued));
    }
}

/// Runs it with this policy; answers what the handler was told, and the metrics' count of what was dropped.
fn run(policy: SlowSubscriber) -> (Arc<Told>, u64, Size) {
    let _turn = turn();
    let size = Size::of_this_run();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let told = Arc::<Told>::default();
    let options = ServerOptions::builder()
        .ping_interval(None)
        .send_queue(LIMIT)
        .build()
        .unwrap();
    let builder = Engine::builder(options).listen("127.0.0.1:0").unwrap().threads(1);
    let handler = told.clone();
    let engine = builder
        .slow_subscriber(policy)
        .start(move |_| Subscribe(handler.clone()))
        .unwrap();
    let clients: Vec<_> = (0..size.subscribers).map(|_| connect(&engine)).collect();
    while told.subscribed.load(Ordering::Relaxed) < size.subscribers {
        thread::yield_now();
    }
    let mut slow = Vec::new();
    let (mut readers, mut come) = (Vec::new(), Vec::new());
    for (number, client) in clients.into_iter().enumerate() {
        // Among the others, not after them.
        if number % (size.subscribers / size.slow) == 0 && slow.len() < size.slow {
            slow.push(client);
            continue;
        }
        let counter = Arc::<AtomicU64>::default();
        come.push(counter.clone());
        readers.push(runtime.spawn(read(client, size.messages, counter)));
    }
    // The readers have their buffers when each has had the first message.
    publish(&engine, 0..1, &come);
    while come.iter().any(|come| come.load(Ordering::Acquire) == 0) {
        thread::yield_now();
    }
    let before = HEAP.allocated();
    publish(&engine, 1..size.messages, &come);
    for reader in readers {
        runtime.block_on(reader).unwrap();
    }
    let grown = HEAP.max_allocated().saturating_sub(before);
    let most = size.slow * (LIMIT + FRAME) + CONSTANT;
    println!(
        "{policy:?}: {} subscribers, {} of them slow, {} messages of {MESSAGE} bytes: heap grew by {grown} bytes at most, \
         of {most} that are allowed",
        size.subscribers, size.slow, size.messages
    );
    assert!(grown <= most, "{grown} bytes");
    let dropped = metric(&engine, "dropped_total{where=\"publish\"}");
    drop(slow);
    engine.shutdown(std::time::Duration::ZERO);
    (told, dropped, size)
}

#[test]
fn m8_slow_subscribers_lose_messages_and_nobody_else_does() {
    let (told, dropped, size) = run(SlowSubscriber::Drop);
    assert!(dropped >= size.slow as u64, "{dropped} dropped");
    assert_eq!(told.dropped.load(Ordering::Relaxed), 0);
    assert_eq!(told.too_slow.load(Ordering::Relaxed), 0);
}

#[test]
fn m8_the_handler_is_told_of_each_that_is_lost() {
    let (told, dropped, size) = run(SlowSubscriber::Tell);
    assert!(dropped >= size.slow as u64, "{dropped} dropped");
    assert_eq!(told.dropped.load(Ordering::Relaxed), dropped);
}

#[test]
fn m8_slow_subscribers_are_ended() {
    let (told, dropped, size) = run(SlowSubscriber::Close);
    assert_eq!(told.too_slow.load(Ordering::Relaxed), size.slow);
    assert!(dropped >= size.slow as u64, "{dropped} dropped");
}
