//! A shard, its clients, and the hands that turn it.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use sockeye::ServerOptions;
use sockeye_proto::close::CloseCode;
use sockeye_proto::message::Payload;

use crate::handler::{Decision, End, Handler};
use crate::options::{Options, SlowSubscriber};
use crate::shard::Shard;
use crate::shared::Shared;
use crate::slab::Key;
use crate::socket::Socket;
use crate::stream::Stream;
use crate::upgrade::Upgrade;
use crate::{Cause, Delivery};

/// The system's end of a connection.
#[derive(Debug, Default)]
pub(super) struct Wire {
    pub(super) to_server: VecDeque<u8>,
    pub(super) from_server: Vec<u8>,
    /// How much more the server may write; `None`: all.
    pub(super) room: Option<usize>,
    pub(super) client_ended: bool,
    pub(super) server_ended: bool,
    pub(super) dropped: bool,
    pub(super) writes: usize,
    pub(super) reads: usize,
}

#[derive(Debug, Clone, Default)]
pub(super) struct Memory(pub(super) Rc<RefCell<Wire>>);

impl Stream for Server {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut wire = self.0.0.borrow_mut();
        wire.reads += 1;
        if wire.to_server.is_empty() {
            return if wire.client_ended {
                Ok(0)
            } else {
                Err(io::ErrorKind::WouldBlock.into())
            };
        }
        io::Read::read(&mut wire.to_server, buffer)
    }

    fn write(&mut self, bytes: &[u8], then: &[u8]) -> io::Result<usize> {
        let mut wire = self.0.0.borrow_mut();
        wire.writes += 1;
        assert!(!wire.server_ended, "nothing is written after the end");
        let all = [bytes, then].concat();
        let length = wire.room.unwrap_or(usize::MAX).min(all.len());
        if length == 0 && !all.is_empty() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        wire.from_server.extend_from_slice(&all[..length]);
        if let Some(room) = &mut wire.room {
            *room -= length;
        }
        Ok(length)
    }

    fn flush(&mut self) -> io::Result<bool> {
        Ok(true)
    }

    fn is_drained_by_short_read(&self) -> bool {
        true
    }

    fn shutdown(&mut self) -> io::Result<()> {
        self.0.0.borrow_mut().server_ended = true;
        Ok(())
    }

    fn peer_addr(&self) -> io::Result<SocketAddr> {
        Ok((Ipv4Addr::LOCALHOST, 7).into())
    }
}

/// The server's end; that it is dropped is noted.
#[derive(Debug)]
pub(super) struct Server(Memory);

impl Drop for Server {
    fn drop(&mut self) {
        self.0.0.borrow_mut().dropped = true;
    }
}

/// What a handler was told.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Told {
    Open,
    Text(String),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Drain(usize),
    Subscription(String, usize, usize),
    Dropped(Vec<u8>),
    Sent(Delivery),
    Close {
        code: u16,
        reason: String,
        clean: bool,
        sent: Option<u16>,
        cause: Option<Cause>,
    },
}

/// Does what its clients say, and notes what it is told.
#[derive(Debug, Clone, Default)]
pub(super) struct Obedient {
    pub(super) told: Rc<RefCell<Vec<Told>>>,
}

impl Obedient {
    fn note(&self, told: Told) {
        self.told.borrow_mut().push(told);
    }
}

impl Handler for Obedient {
    type Data = u64;

    fn upgrade(&mut self, request: &mut Upgrade<'_, u64>) -> Decision<u64> {
        match request.request().path() {
            "/refused" => Decision::Reject(crate::Rejection::new(401)),
            "/panic" => panic!("asked to"),
            _ => Decision::Accept(7),
        }
    }

    fn open(&mut self, _socket: &mut Socket<'_, u64>) {
        self.note(Told::Open);
    }

    fn message(&mut self, socket: &mut Socket<'_, u64>, message: Payload<'_>) {
        match message {
            Payload::Text(text) => self.note(Told::Text(text.to_owned())),
            Payload::Binary(bytes) => {
                self.note(Told::Binary(bytes.to_vec()));
                let _ = socket.send(message);
                return;
            }
        }
        let Payload::Text(text) = message else { return };
        let words: Vec<&str> = text.splitn(3, ' ').collect();
        match words[..] {
            ["subscribe", filter] => drop(socket.subscribe(filter)),
            ["unsubscribe", filter] => drop(socket.unsubscribe(filter)),
            ["publish", topic, what] => drop(socket.publish(topic, what)),
            ["announce", topic, what] => drop(socket.publisher().publish(topic, what)),
            ["send", length] => {
                let delivery = socket.send(&vec![b'x'; length.parse().unwrap()][..]);
                self.note(Told::Sent(delivery));
            }
            ["close", reason] => drop(socket.close(CloseCode::new(4000), reason)),
            ["terminate"] => socket.terminate(),
            ["panic"] => panic!("asked to"),
            ["pause"] => socket.pause(),
            ["pause", "until", "drained"] => {
                let _ = socket.send(message);
                socket.pause();
            }
            _ => drop(socket.send(message)),
        }
    }

    fn ping(&mut self, _socket: &mut Socket<'_, u64>, payload: &[u8]) {
        self.note(Told::Ping(payload.to_vec()));
    }

    fn pong(&mut self, _socket: &mut Socket<'_, u64>, payload: &[u8]) {
        self.note(Told::Pong(payload.to_vec()));
    }

    fn drain(&mut self, socket: &mut Socket<'_, u64>) {
        self.note(Told::Drain(socket.buffered_amount()));
        socket.resume();
    }

    fn subscription(&mut self, _data: &mut u64, topic: &str, before: usize, after: usize) {
        self.note(Told::Subscription(topic.to_owned(), before, after));
    }

    fn dropped(&mut self, _socket: &mut Socket<'_, u64>, message: Payload<'_>) {
        self.note(Told::Dropped(message.as_bytes().to_vec()));
    }

    fn close(&mut self, data: u64, end: End<'_>) {
        assert_eq!(data, 7);
        self.note(Told::Close {
            code: end.code.as_u16(),
            reason: end.reason.to_owned(),
            clean: end.clean,
            sent: end.sent.map(CloseCode::as_u16),
            cause: end.cause,
        });
    }
}

pub(super) struct Lab {
    pub(super) shard: Shard<Obedient, Server>,
    pub(super) shared: Arc<Shared>,
    pub(super) handler: Obedient,
    /// What had been received on connections that were handed over.
    pub(super) handed_over: Rc<RefCell<Vec<Vec<u8>>>>,
    now: Duration,
    clients: Vec<(Key, Memory)>,
}

/// A client of the lab.
pub(super) type Client = usize;

impl Lab {
    pub(super) fn new() -> Self {
        Self::with(ServerOptions::default(), |_| {})
    }

    pub(super) fn with(server: ServerOptions, change: impl FnOnce(&mut Options)) -> Self {
        let mut options = Options::new(server);
        change(&mut options);
        let shared = Shared::new(1, 1 << 20);
        let handler = Obedient::default();
        Self {
            shard: Shard::new(handler.clone(), Arc::new(options), 0, shared.clone(), None),
            shared,
            handler,
            handed_over: Rc::default(),
            now: Duration::ZERO,
            clients: Vec::new(),
        }
    }

    /// With somebody who takes what is no WebSocket.
    pub(super) fn handing_over() -> Self {
        let mut lab = Self::new();
        let handed_over = lab.handed_over.clone();
        lab.shard.hand_over = Some(Box::new(move |_, received| handed_over.borrow_mut().push(received)));
        lab
    }

    /// A shutdown begins.
    pub(super) fn leave(&mut self) {
        self.shard.leave(Duration::from_secs(10), Arc::default());
        self.end_turn();
    }

    /// A policy for slow subscribers, with room for so many bytes.
    pub(super) fn slow(policy: SlowSubscriber, limit: usize) -> Self {
        Self::with(ServerOptions::default(), |options| {
            options.slow = policy;
            options.send_limit = limit;
        })
    }

    /// A connection that has said nothing.
    pub(super) fn connect(&mut self) -> Client {
        let memory = Memory::default();
        let key = self.shard.vacant().unwrap();
        self.shard.adopt(Server(memory.clone()));
        self.clients.push((key, memory));
        self.clients.len() - 1
    }

    /// An open connection.
    pub(super) fn open(&mut self) -> Client {
        let client = self.connect();
        self.say(client, REQUEST);
        assert!(self.hear(client).starts_with(b"HTTP/1.1 101 "));
        client
    }

    pub(super) fn wire(&self, client: Client) -> std::cell::RefMut<'_, Wire> {
        self.clients[client].1.0.borrow_mut()
    }

    pub(super) fn key(&self, client: Client) -> Key {
        self.clients[client].0
    }

    /// Bytes from the client, and the turn that they bring about.
    pub(super) fn say(&mut self, client: Client, bytes: &[u8]) {
        self.wire(client).to_server.extend(bytes);
        self.shard.readable(self.clients[client].0, false);
        self.end_turn();
    }

    pub(super) fn text(&mut self, client: Client, text: &str) {
        self.say(client, &masked(0x81, text.as_bytes()));
    }

    /// The client's end of the stream.
    pub(super) fn end(&mut self, client: Client) {
        self.wire(client).client_ended = true;
        self.shard.readable(self.clients[client].0, true);
        self.end_turn();
    }

    /// The client reads so much of what waits for it.
    pub(super) fn give_room(&mut self, client: Client, room: Option<usize>) {
        self.wire(client).room = room;
        self.shard.writable(self.clients[client].0);
        self.end_turn();
    }

    pub(super) fn end_turn(&mut self) {
        self.shard.obey(|_, _, _| unreachable!("no sockets here"));
        self.shard.end_turn(Duration::ZERO);
        while self.shard.has_work() {
            self.shard.read_on();
            self.shard.end_turn(Duration::ZERO);
        }
    }

    /// What the client has been sent since it was last asked.
    pub(super) fn hear(&mut self, client: Client) -> Vec<u8> {
        std::mem::take(&mut self.wire(client).from_server)
    }

    /// The frames among that: first byte and payload.
    pub(super) fn frames(&mut self, client: Client) -> Vec<(u8, Vec<u8>)> {
        let bytes = self.hear(client);
        let (mut rest, mut frames) = (&bytes[..], Vec::new());
        while let [first, length, after @ ..] = rest {
            let (length, after) = match length {
                126 => (u16::from_be_bytes([after[0], after[1]]).into(), &after[2..]),
                127 => (u64::from_be_bytes(after[..8].try_into().unwrap()) as usize, &after[8..]),
                short => (usize::from(*short), after),
            };
            frames.push((*first, after[..length].to_vec()));
            rest = &after[length..];
        }
        assert!(rest.is_empty());
        frames
    }

    /// The texts among that.
    pub(super) fn texts(&mut self, client: Client) -> Vec<String> {
        let frames = self.frames(client).into_iter().filter(|(first, _)| *first == 0x81);
        frames.map(|(_, payload)| String::from_utf8(payload).unwrap()).collect()
    }

    /// What the handler has been told since it was last asked.
    pub(super) fn told(&mut self) -> Vec<Told> {
        std::mem::take(&mut *self.handler.told.borrow_mut())
    }

    /// Lets time pass, with a turn whenever the shard wants one.
    pub(super) fn pass(&mut self, time: Duration) {
        let until = self.now + time;
        while let Some(next) = self.shard.next_tick().filter(|next| *next <= until) {
            self.now = self.now.max(next);
            self.shard.tick(self.now);
            self.end_turn();
        }
        self.now = until;
        self.shard.tick(until);
        self.end_turn();
    }

    pub(super) fn is_gone(&self, client: Client) -> bool {
        self.wire(client).dropped
    }
}

/// A frame as a client sends it.
pub(super) fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    let key = [0x37, 0xfa, 0x21, 0x3d];
    let mut frame = vec![first];
    match payload.len() {
        short @ 0..126 => frame.push(0x80 | short as u8),
        medium @ 126..0x1_0000 => {
            frame.push(0x80 | 126);
            frame.extend((medium as u16).to_be_bytes());
        }
        long => {
            frame.push(0x80 | 127);
            frame.extend((long as u64).to_be_bytes());
        }
    }
    frame.extend(key);
    frame.extend(payload.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key));
    frame
}

pub(super) const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
