//! What an engine allows and limits, beyond what every server of the workspace does by [`sockeye::ServerOptions`].

use std::time::Duration;

use sockeye::ServerOptions;

use crate::timers::{Tick, ticks};
use crate::topics::Compression;

/// What becomes of messages for a subscriber who reads more slowly than they are published. Nobody else waits for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum SlowSubscriber {
    /// They are dropped.
    #[default]
    Drop,
    /// They are dropped, and [`Handler::dropped`](crate::Handler::dropped) is told of each.
    Tell,
    /// The connection is ended, without a Close that it would not read either.
    Close,
}

/// The options of an engine that the shards read.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    pub(crate) server: ServerOptions,
    /// How much output may wait for a peer, in bytes.
    pub(crate) send_limit: usize,
    pub(crate) slow: SlowSubscriber,
    pub(crate) compression: Compression,
    pub(crate) max_connections: usize,
    pub(crate) max_handshakes: usize,
    pub(crate) max_subscriptions: usize,
    pub(crate) times: Times,
}

/// The times of [`ServerOptions`], in ticks of the wheel. `None` switches one off.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Times {
    pub(crate) handshake: Tick,
    pub(crate) ping_after: Option<Tick>,
    pub(crate) pong_within: Option<Tick>,
    pub(crate) idle: Option<Tick>,
    pub(crate) lifetime: Option<Tick>,
    /// By how much a lifetime is shortened at most, at random.
    pub(crate) lifetime_jitter: Tick,
    pub(crate) close: Tick,
}

impl Options {
    pub(crate) fn new(server: ServerOptions) -> Self {
        let timing = server.timing();
        let some = |time: Option<Duration>| time.map(ticks);
        let times = Times {
            handshake: ticks(server.handshake_timeout()),
            ping_after: some(timing.ping_after),
            pong_within: some(timing.pong_within),
            idle: some(timing.idle),
            lifetime: some(timing.lifetime),
            lifetime_jitter: timing.lifetime.map_or(0, |lifetime| ticks(lifetime / 10)),
            close: ticks(timing.close_within),
        };
        Self {
            send_limit: server.send_queue(),
            slow: SlowSubscriber::default(),
            compression: Compression(
                #[cfg(feature = "deflate")]
                server.deflate(),
            ),
            max_connections: 1_000_000,
            max_handshakes: 4096,
            max_subscriptions: 1024,
            times,
            server,
        }
    }
}
