//! The loop of a shard's thread: the system's events in, a turn of the [shard](crate::shard) each time.
//!
//! Readiness is edge-triggered. A connection is registered for reading; for room to write only while its output has none,
//! since the system tells of room after every acknowledgement.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use mio::event::Event;
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};

use crate::clock::Clock;
use crate::handler::Handler;
use crate::mailbox::Command;
use crate::shard::Shard;
use crate::shared::Shared;
use crate::slab::Key;
use crate::wire::{Acceptor, Wire};

/// A socket that a shard accepts from.
pub(crate) struct Listening {
    pub(crate) socket: TcpListener,
    pub(crate) acceptor: Acceptor,
    /// Whether connections go to all shards in turn, where the system cannot see to that.
    pub(crate) spread: bool,
}

/// Is told why the system gives no connections.
pub(crate) type OnAcceptError = dyn Fn(&io::Error) + Send + Sync;

pub(crate) struct EventLoop<H: Handler> {
    shard: Shard<H, Wire>,
    number: usize,
    shared: Arc<Shared>,
    poll: Poll,
    listening: Vec<Listening>,
    /// Listeners that may have more connections, of which no event will tell.
    pending: bool,
    /// When accepting is tried again, after the system has refused.
    again_at: Option<Duration>,
    next: usize,
    clock: Clock,
    /// The time when a turn was last done with its connections: looking at the clock takes as long as parsing a message.
    looked: Duration,
    on_accept_error: Option<Arc<OnAcceptError>>,
}

impl<H: Handler> EventLoop<H> {
    pub(crate) fn new(
        shard: Shard<H, Wire>,
        number: usize,
        shared: Arc<Shared>,
        poll: Poll,
        mut listening: Vec<Listening>,
        on_accept_error: Option<Arc<OnAcceptError>>,
        clock: Clock,
    ) -> io::Result<Self> {
        for (at, listening) in listening.iter_mut().enumerate() {
            let token = Token(FIRST_LISTENER - at);
            poll.registry()
                .register(&mut listening.socket, token, Interest::READABLE)?;
        }
        Ok(Self {
            shard,
            number,
            shared,
            poll,
            listening,
            pending: false,
            again_at: None,
            next: number,
            looked: clock.now(),
            clock,
            on_accept_error,
        })
    }

    /// Runs until the shard has taken leave of all.
    pub(crate) fn run(mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(EVENTS);
        loop {
            match self.poll.poll(&mut events, self.timeout()) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => {
                    tracing::error!(%error, "a shard cannot wait for events, and ends");
                    return Err(error);
                }
            }
            self.turn(&events);
            if self.shard.has_left() {
                return Ok(());
            }
        }
    }

    fn turn(&mut self, events: &Events) {
        let start = self.clock.now();
        self.shard.tick(start);
        self.shard.read_on();
        for event in events {
            match event.token() {
                WAKER => self.obey(),
                Token(token) if token > FIRST_LISTENER - MOST_LISTENERS => self.pending = true,
                Token(token) => self.connection(Key::from_u64(token as u64), event),
            }
        }
        if self.pending && self.again_at.is_none_or(|at| at <= start) {
            self.accept();
        }
        self.looked = self.clock.now();
        self.shard.end_turn(self.looked.saturating_sub(start));
        let registry = self.poll.registry();
        // A connection that is gone from the system shows that when it is read.
        self.shard
            .rewatch(|wire, key, room| drop(wire.watch(registry, token(key), room)));
        if self.shard.is_leaving() {
            // Their sockets close: who comes now goes to another process, or is refused by the system.
            self.listening.clear();
            self.pending = false;
        }
    }

    #[inline]
    fn connection(&mut self, key: Key, event: &Event) {
        if event.is_writable() {
            self.shard.writable(key);
        }
        let ends = event.is_read_closed() || event.is_error();
        if ends || event.is_readable() {
            self.shard.readable(key, ends);
        }
    }

    fn timeout(&self) -> Option<Duration> {
        if self.shard.has_work() || (self.pending && self.again_at.is_none()) {
            return Some(Duration::ZERO);
        }
        let tick = self.shard.next_tick();
        let again = self.again_at.filter(|_| self.pending);
        let next = tick.into_iter().chain(again).min();
        self.clock.sleep(next.map(|at| at.saturating_sub(self.looked)))
    }

    #[inline(never)]
    fn obey(&mut self) {
        let poll = &self.poll;
        self.shard
            .obey(|shard, acceptor, tcp| take_on(poll, shard, &acceptor, tcp));
    }

    #[inline(never)]
    fn accept(&mut self) {
        self.pending = false;
        self.again_at = None;
        for at in 0..self.listening.len() {
            let mut drained = false;
            for _ in 0..ACCEPTS {
                if self.shard.is_busy() {
                    self.wait_for_room();
                    return;
                }
                match self.listening[at].socket.accept() {
                    Ok((tcp, _)) => self.take_on_or_pass_on(at, tcp),
                    Err(error) => match error.kind() {
                        io::ErrorKind::WouldBlock => {
                            drained = true;
                            break;
                        }
                        io::ErrorKind::Interrupted | io::ErrorKind::ConnectionAborted => {}
                        // Too few descriptors, say. The connection stays in the system's queue.
                        _ => {
                            match &self.on_accept_error {
                                Some(tell) => tell(&error),
                                None => tracing::warn!(%error, "the system gave no connection"),
                            }
                            self.wait_for_room();
                            return;
                        }
                    },
                }
            }
            // There may be more, behind what the others have to do.
            self.pending |= !drained;
        }
    }

    fn take_on_or_pass_on(&mut self, at: usize, tcp: TcpStream) {
        let Listening { acceptor, spread, .. } = &self.listening[at];
        if *spread {
            self.next = (self.next + 1) % self.shared.shards.len();
            if self.next != self.number {
                let command = Command::Adopt(acceptor.clone(), tcp);
                self.shared.shards[self.next].mailbox.post(command);
                return;
            }
        }
        take_on(&self.poll, &mut self.shard, acceptor, tcp);
    }

    fn wait_for_room(&mut self) {
        self.pending = true;
        self.again_at = Some(self.clock.now() + PAUSE);
    }
}

fn take_on<H: Handler>(poll: &Poll, shard: &mut Shard<H, Wire>, acceptor: &Acceptor, mut tcp: TcpStream) {
    let Some(key) = shard.vacant() else { return };
    let registry = poll.registry();
    // A connection that has ended already may refuse either.
    let registered = tcp
        .set_nodelay(true)
        .and_then(|()| registry.register(&mut tcp, token(key), acceptor.interest()));
    if registered.is_ok()
        && let Ok(wire) = acceptor.wire(tcp)
    {
        shard.adopt(wire);
    }
}

fn token(key: Key) -> Token {
    Token(key.as_u64() as usize)
}

/// Whom other threads wake.
pub(crate) const WAKER: Token = Token(usize::MAX);

/// Tokens of listeners count down from here. No connection reaches them, since no index is so large.
const FIRST_LISTENER: usize = usize::MAX - 1;

/// How many listeners a shard may have.
pub(crate) const MOST_LISTENERS: usize = 1024;

/// Events that are taken at once.
const EVENTS: usize = 1024;

/// Connections that a listener gives before the others have their turn.
const ACCEPTS: usize = 256;

/// How long accepting pauses when the system, or the limit on handshakes, has refused.
const PAUSE: Duration = Duration::from_millis(20);

#[cfg(not(target_pointer_width = "64"))]
compile_error!("a connection's token needs 64 bits");
