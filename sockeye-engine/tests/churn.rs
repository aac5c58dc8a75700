//! Connections that come and go at random moments of their lives, while other threads use handles of those that are gone.
//! None of them reaches another connection, all that opened are told of as closed, and the memory comes back.
//!
//! By default 4,000 connections. `SOCKEYE_CHURN="CONNECTIONS SEED"` sets another number: `"1000000 1"` is the one that is
//! stated in `docs/engine.md`.

use std::alloc::System;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use cap::Cap;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use sockeye_engine::{Decision, End, Engine, Handle, Handler, Payload, ServerOptions, Socket, Upgrade};

#[global_allocator]
static HEAP: Cap<System> = Cap::new(System, usize::MAX);

/// Threads with clients, each with one connection at a time.
const THREADS: u64 = 16;

/// Handles that are kept, of which most are stale.
const KEPT: usize = 512;

/// What may stay, in bytes: places in the slab, which are used again and never given back, and pooled buffers.
const CONSTANT: usize = 512 << 10;

#[derive(Debug, Default)]
struct Told {
    opened: AtomicU64,
    closed: AtomicU64,
    /// Of connections that are, or were, with their numbers.
    handles: Mutex<Vec<(u64, Handle)>>,
}

/// Connections have numbers, which their clients choose.
struct Numbered(Arc<Told>);

impl Handler for Numbered {
    type Data = u64;

    fn upgrade(&mut self, request: &mut Upgrade<'_, u64>) -> Decision<u64> {
        Decision::Accept(request.request().path().trim_matches('/').parse().unwrap())
    }

    fn open(&mut self, socket: &mut Socket<'_, u64>) {
        self.0.opened.fetch_add(1, Ordering::Relaxed);
        let number = *socket.data;
        socket.subscribe(&format!("topic/{}", number % 7)).unwrap();
        let mut handles = self.0.handles.lock().unwrap();
        if handles.len() < KEPT {
            handles.push((number, socket.handle()));
        } else {
            let at = number as usize * 31 % KEPT;
            handles[at] = (number, socket.handle());
        }
    }

    fn message(&mut self, socket: &mut Socket<'_, u64>, message: Payload<'_>) {
        let _ = socket.send(message);
    }

    fn close(&mut self, _number: u64, _end: End<'_>) {
        self.0.closed.fetch_add(1, Ordering::Relaxed);
    }
}

/// Sends its number to each of the connections that handles are kept of, whether they are there or not.
fn haunt(told: &Told, stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {
        let handles = told.handles.lock().unwrap().clone();
        for (number, handle) in handles {
            let _ = handle.send(number.to_be_bytes().to_vec());
        }
        thread::yield_now();
    }
}

/// One life of a connection.
fn live(address: SocketAddr, number: u64, random: &mut StdRng) {
    // Ports run out at 28,000 for a pair of addresses: from several, then.
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    let local = Ipv4Addr::new(127, 0, 1, (number % 200) as u8 + 1);
    socket.set_reuse_address(true).unwrap();
    socket.bind(&SocketAddr::from((local, 0)).into()).unwrap();
    socket.connect(&address.into()).unwrap();
    if random.random_bool(0.5) {
        // RST instead of FIN.
        socket.set_linger(Some(Duration::ZERO)).unwrap();
    }
    let mut tcp = TcpStream::from(socket);
    let request = format!(
        "GET /{number} HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    let cut = match random.random_range(0..10) {
        0 => random.random_range(0..request.len()),
        _ => request.len(),
    };
    if tcp.write_all(&request.as_bytes()[..cut]).is_err() || cut < request.len() || random.random_ratio(1, 10) {
        return;
    }
    let (mut byte, mut end) = ([0; 1], [0; 4]);
    while end != *b"\r\n\r\n" {
        tcp.read_exact(&mut byte).unwrap();
        end = [end[1], end[2], end[3], byte[0]];
    }
    for _ in 0..random.random_range(0..4) {
        let mut frame = vec![0x82, 0x88, 0, 0, 0, 0];
        frame.extend(number.to_be_bytes());
        if random.random_ratio(1, 8) {
            // Gone in the middle of a frame.
            frame.truncate(random.random_range(1..frame.len()));
            let _ = tcp.write_all(&frame);
            return;
        }
        tcp.write_all(&frame).unwrap();
        is_for(number, &mut tcp);
    }
    if random.random_bool(0.5) {
        tcp.write_all(&[0x88, 0x82, 0, 0, 0, 0, 3, 0xe8]).unwrap();
        while is_for(number, &mut tcp) {}
    }
}

/// Reads a frame: the connection's own number, or a Close, for which the answer is false.
fn is_for(number: u64, tcp: &mut TcpStream) -> bool {
    let mut head = [0; 2];
    tcp.read_exact(&mut head).unwrap();
    let mut payload = vec![0; usize::from(head[1])];
    tcp.read_exact(&mut payload).unwrap();
    if head[0] == 0x88 {
        assert_eq!(payload, [3, 0xe8]);
        // RFC 6455 §7.1.1: the server ends TCP first.
        match tcp.read(&mut head) {
            Ok(0) => {}
            Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
            other => panic!("{other:?}"),
        }
        return false;
    }
    assert_eq!(
        (head[0], payload),
        (0x82, number.to_be_bytes().to_vec()),
        "of somebody else"
    );
    true
}

fn metric(engine: &Engine, name: &str) -> u64 {
    let text = engine.metrics();
    let mut lines = text.lines().filter_map(|line| line.strip_prefix("sockeye_engine_"));
    let value = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    value.unwrap().parse().unwrap()
}

/// Lets these connections live and die, by several threads, and waits until the server has forgotten them.
fn churn(engine: &Engine, told: &Told, numbers: std::ops::Range<u64>, seed: u64) {
    let address = engine.local_addrs()[0];
    let next = AtomicU64::new(numbers.start);
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= numbers.end {
                        return;
                    }
                    live(address, number, &mut StdRng::seed_from_u64(seed ^ number << 20));
                }
            });
        }
    });
    let outcomes = || {
        let outcome = |name| metric(engine, &format!("handshakes_total{{outcome=\"{name}\"}}"));
        outcome("accepted") + outcome("failed") + outcome("rejected")
    };
    while outcomes() < numbers.end || metric(engine, "connections") > 0 {
        thread::yield_now();
    }
    assert_eq!(told.opened.load(Ordering::Relaxed), told.closed.load(Ordering::Relaxed));
}

#[test]
fn l5_a_million_connections_leave_nothing_behind() {
    let (mut connections, mut seed) = (4000, 1);
    if let Ok(size) = std::env::var("SOCKEYE_CHURN") {
        let mut numbers = size.split(' ').map(|number| number.parse::<u64>().unwrap());
        (connections, seed) = (numbers.next().unwrap(), numbers.next().unwrap());
    }
    let told = Arc::<Told>::default();
    // Short times, so that the wheel forgets soon.
    let options = ServerOptions::builder()
        .handshake_timeout(Duration::from_secs(5))
        .ping_interval(None)
        .close_timeout(Duration::from_secs(1))
        .build()
        .unwrap();
    let builder = Engine::builder(options).listen("127.0.0.1:0").unwrap().threads(2);
    let handler = told.clone();
    let engine = builder.start(move |_| Numbered(handler.clone())).unwrap();
    let stop = AtomicBool::new(false);
    let (before, after) = thread::scope(|scope| {
        scope.spawn(|| haunt(&told, &stop));
        // What is made for the first ones is there for all.
        let first = connections / 4;
        churn(&engine, &told, 0..first, seed);
        let before = HEAP.allocated();
        churn(&engine, &told, first..connections, seed);
        let after = HEAP.allocated();
        stop.store(true, Ordering::Relaxed);
        (before, after)
    });
    let opened = told.opened.load(Ordering::Relaxed);
    println!(
        "{connections} connections, of which {opened} opened: the heap has {before} bytes after a quarter of them, {after} at the end"
    );
    assert!(opened > connections / 2);
    assert!(after <= before + CONSTANT, "{before} bytes before, {after} after");
    engine.shutdown(Duration::ZERO);
}
