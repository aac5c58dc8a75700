//! F2, M1, M2, M4, M7, M9 and M10 over sockets, by a counting allocator. Each test is a process of its own under nextest;
//! under `cargo test` they take turns. The clients allocate nothing while it counts.

use std::alloc::System;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;

use cap::Cap;
use sockeye_engine::{Decision, Engine, Handler, Payload, ServerOptions, Socket, Upgrade};

#[global_allocator]
static HEAP: Cap<System> = Cap::new(System, usize::MAX);

static TURN: Mutex<()> = Mutex::new(());

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// The header of a binary frame of 1 MiB, with a mask of zeroes.
const HEADER: [u8; 14] = [0x82, 0xff, 0, 0, 0, 0, 0, 0x10, 0, 0, 0, 0, 0, 0];

/// Answers each message with its length.
struct Measure;

impl Handler for Measure {
    type Data = ();

    fn upgrade(&mut self, _request: &mut Upgrade<'_, ()>) -> Decision<()> {
        Decision::Accept(())
    }

    fn message(&mut self, socket: &mut Socket<'_, ()>, message: Payload<'_>) {
        let length = (message.as_bytes().len() as u32).to_be_bytes();
        let _ = socket.send(&length[..]);
    }
}

/// An engine with one shard, which has done everything once.
struct Server {
    engine: Engine,
    _turn: MutexGuard<'static, ()>,
}

impl Server {
    fn start() -> Self {
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let options = ServerOptions::builder().ping_interval(None).build().unwrap();
        let builder = Engine::builder(options).listen("127.0.0.1:0").unwrap().threads(1);
        let engine = builder.start(|_| Measure).unwrap();
        let server = Self { engine, _turn: turn };
        // Two, so that nothing that is made for the first or the second counts.
        for _ in 0..2 {
            let mut client = server.connect();
            client.write_all(&[0x82, 0x82, 0, 0, 0, 0, 1, 2]).unwrap();
            assert_eq!(answer(&mut client), 2);
        }
        server.until("connections", 0);
        server
    }

    fn connect(&self) -> TcpStream {
        let mut client = TcpStream::connect(self.engine.local_addrs()[0]).unwrap();
        client.set_nodelay(true).unwrap();
        client.write_all(REQUEST).unwrap();
        let (mut byte, mut end) = ([0; 1], [0; 4]);
        while end != *b"\r\n\r\n" {
            client.read_exact(&mut byte).unwrap();
            end = [end[1], end[2], end[3], byte[0]];
        }
        client
    }

    fn metric(&self, name: &str) -> u64 {
        let text = self.engine.metrics();
        let mut lines = text.lines().filter_map(|line| line.strip_prefix("sockeye_engine_"));
        let value = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        value.unwrap().parse().unwrap()
    }

    /// Waits until a figure has at least this value, or is 0.
    fn until(&self, name: &str, value: u64) {
        while (value > 0 && self.metric(name) < value) || (value == 0 && self.metric(name) > 0) {
            thread::yield_now();
        }
    }

    fn until_read(&self, bytes: u64) {
        self.until("bytes_total{direction=\"in\"}", bytes);
    }
}

/// The length in the next answer.
fn answer(client: &mut TcpStream) -> usize {
    let mut frame = [0; 6];
    client.read_exact(&mut frame).unwrap();
    assert_eq!(frame[..2], [0x82, 4]);
    u32::from_be_bytes([frame[2], frame[3], frame[4], frame[5]]) as usize
}

/// Writes a frame so often, or until the server has had enough, and answers the code of its Close, if one comes.
fn write_until_closed(client: &mut TcpStream, frame: &[u8], times: usize) -> u16 {
    for _ in 0..times {
        if client.write_all(frame).is_err() {
            break;
        }
    }
    let mut head = [0; 4];
    client.read_exact(&mut head).unwrap();
    assert_eq!(head[0], 0x88);
    u16::from_be_bytes([head[2], head[3]])
}

#[test]
fn f2_a_header_claims_a_mebibyte_and_nothing_follows() {
    const CONNECTIONS: usize = 1000;
    let server = Server::start();
    let mut clients = Vec::with_capacity(CONNECTIONS);
    let before = HEAP.allocated();
    let read = server.metric("bytes_total{direction=\"in\"}");
    for _ in 0..CONNECTIONS {
        let mut client = server.connect();
        client.write_all(&HEADER).unwrap();
        clients.push(client);
    }
    server.until_read(read + (CONNECTIONS * HEADER.len()) as u64);
    let each = (HEAP.allocated() - before) / CONNECTIONS;
    assert!(each <= 2 * KIB, "{each} bytes each");
}

#[test]
fn m1_tiny_fragments_without_end() {
    let server = Server::start();
    let mut client = server.connect();
    let before = HEAP.max_allocated().max(HEAP.allocated());
    client.write_all(&[0x02, 0x81, 0, 0, 0, 0, 1]).unwrap();
    let code = write_until_closed(&mut client, &[0x00, 0x81, 0, 0, 0, 0, 1], 20_000);
    assert_eq!(code, 1008);
    // Of the 4,096 that are allowed 28 KiB were on the wire.
    let peak = HEAP.max_allocated() - before;
    assert!(peak <= 2 * 28 * KIB + 64 * KIB, "{peak} bytes");
}

#[test]
fn m2_empty_continuations_without_end() {
    let server = Server::start();
    let mut client = server.connect();
    let before = HEAP.max_allocated().max(HEAP.allocated());
    client.write_all(&[0x02, 0x80, 0, 0, 0, 0]).unwrap();
    let mut frames = [0; 6 * 1000];
    for frame in frames.chunks_mut(6) {
        frame[1] = 0x80;
    }
    // A million, of which the server looks at 4,096.
    assert_eq!(write_until_closed(&mut client, &frames, 1000), 1008);
    let peak = HEAP.max_allocated() - before;
    assert!(peak <= 64 * KIB, "{peak} bytes");
}

#[test]
fn m4_a_frame_of_a_mebibyte_byte_by_byte() {
    let server = Server::start();
    let mut client = server.connect();
    let before = HEAP.allocated();
    client.write_all(&HEADER).unwrap();
    for _ in 0..MIB {
        client.write_all(&[7]).unwrap();
    }
    assert_eq!(answer(&mut client), MIB);
    let peak = HEAP.max_allocated() - before;
    assert!(peak <= MIB + 64 * KIB, "{peak} bytes");
}

#[test]
fn m7_pings_whose_pongs_are_never_read() {
    const PINGS: u32 = 200_000;
    let server = Server::start();
    let mut client = server.connect();
    let before = HEAP.allocated();
    let mut ping = [0; 6 + 125];
    (ping[0], ping[1]) = (0x89, 0x80 | 125);
    let read = server.metric("bytes_total{direction=\"in\"}");
    for number in 1..=PINGS {
        ping[6..10].copy_from_slice(&number.to_be_bytes());
        client.write_all(&ping).unwrap();
    }
    server.until_read(read + u64::from(PINGS) * ping.len() as u64);
    let peak = HEAP.max_allocated() - before;
    assert!(peak <= 64 * KIB, "{peak} bytes");
    // The last one is answered, and the others as far as there was room.
    let mut pong = [0; 2 + 125];
    let mut last = 0;
    while last < PINGS {
        client.read_exact(&mut pong).unwrap();
        assert_eq!(pong[..2], [0x8a, 125]);
        let number = u32::from_be_bytes([pong[2], pong[3], pong[4], pong[5]]);
        assert!(number > last);
        last = number;
    }
}

#[test]
fn m9_unsolicited_pongs() {
    const PONGS: u64 = 500_000;
    let server = Server::start();
    let mut client = server.connect();
    let before = HEAP.max_allocated().max(HEAP.allocated());
    let mut pong = [0; 6 + 125];
    (pong[0], pong[1]) = (0x8a, 0x80 | 125);
    let read = server.metric("bytes_total{direction=\"in\"}");
    for _ in 0..PONGS {
        client.write_all(&pong).unwrap();
    }
    server.until_read(read + PONGS * pong.len() as u64);
    let peak = HEAP.max_allocated() - before;
    // The text of the metrics is all that is made.
    assert!(peak <= 16 * KIB, "{peak} bytes");
}

/// What a message needed goes to the shard's pool, which keeps 8 MiB for all; the connections keep nothing.
#[test]
fn m10_connections_keep_nothing_of_a_large_message() {
    const CONNECTIONS: usize = 64;
    let server = Server::start();
    let mut clients = Vec::with_capacity(CONNECTIONS);
    let payload = vec![7; MIB];
    for _ in 0..CONNECTIONS {
        clients.push(server.connect());
    }
    let mut sizes = [0; CONNECTIONS];
    let before = HEAP.allocated();
    for (client, size) in clients.iter_mut().zip(&mut sizes) {
        client.write_all(&HEADER).unwrap();
        client.write_all(&payload).unwrap();
        assert_eq!(answer(client), MIB);
        *size = HEAP.allocated() - before;
    }
    assert!(sizes[0] <= 2 * MIB, "{} bytes", sizes[0]);
    let more = sizes[CONNECTIONS - 1].saturating_sub(sizes[0]);
    assert!(more <= CONNECTIONS * 4 * KIB, "{more} bytes");
    let peak = HEAP.max_allocated() - before;
    assert!(peak <= 4 * MIB, "{peak} bytes, one after the other");
}
