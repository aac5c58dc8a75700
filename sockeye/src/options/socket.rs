//! What an open connection waits for and how much it queues: the same options for clients and servers.

use std::sync::Arc;

use sockeye_proto::keepalive::Timing;

/// The options of an open connection that are not the protocol's.
#[derive(Debug, Clone)]
pub(crate) struct SocketOptions {
    pub(crate) timing: Arc<Timing>,
    /// How much output may wait for the transport before `send` waits for room, in bytes.
    pub(crate) send_queue: usize,
}

impl SocketOptions {
    pub(crate) fn client() -> Self {
        Self {
            timing: Arc::default(),
            send_queue: 1024 * 1024,
        }
    }

    pub(crate) fn server() -> Self {
        Self {
            send_queue: 64 * 1024,
            ..Self::client()
        }
    }

    pub(crate) fn timing_mut(&mut self) -> &mut Timing {
        Arc::make_mut(&mut self.timing)
    }
}

/// The methods of both builders.
macro_rules! socket_options {
    ($builder:ty, $($socket:ident).+) => {
        impl $builder {
            /// How long nothing may have been received before a ping is sent; `None`: no pings. Default: 20 s, which costs
            /// 6 bytes of TCP payload from a server, 10 from a client, and 8 of payload each way, and a timer.
            ///
            /// The connection does not look at the clock for each message, so the ping goes out after 1 to 1.5 intervals of
            /// silence, while `recv` is awaited. An engine's shard sends it after 1 to 1.1 intervals, at random, so that those
            /// who connected together are not pinged together.
            pub fn ping_interval(mut self, interval: impl Into<Option<Duration>>) -> Self {
                self.$($socket).+.timing_mut().ping_after = interval.into();
                self
            }

            /// How long nothing may be received after a ping before the connection is given up with
            /// [`Timeout::Pong`](crate::Timeout::Pong); `None`: for ever. Default: 20 s.
            pub fn ping_timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
                self.$($socket).+.timing_mut().pong_within = timeout.into();
                self
            }

            /// How long neither side may send a message before the connection is closed with code 1001, and ends with
            /// [`Timeout::Idle`](crate::Timeout::Idle). It is told after 1 to 1.5 such times. Default: `None`, for ever.
            pub fn idle_timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
                self.$($socket).+.timing_mut().idle = timeout.into();
                self
            }

            /// How long the connection may last before it is closed with code 1001, and ends with
            /// [`Timeout::Lifetime`](crate::Timeout::Lifetime). Default: `None`, for ever.
            pub fn max_lifetime(mut self, lifetime: impl Into<Option<Duration>>) -> Self {
                self.$($socket).+.timing_mut().lifetime = lifetime.into();
                self
            }

            /// How long the peer has to finish the closing handshake. Default: 5 s.
            pub fn close_timeout(mut self, timeout: Duration) -> Self {
                self.$($socket).+.timing_mut().close_within = timeout;
                self
            }

            /// How much output may wait for the transport, in bytes, before `send` waits for room and `try_send` drops.
            /// One message may always be queued, whatever its length. Default: 1 MiB for a client, 64 KiB for a server.
            pub fn send_queue(mut self, bytes: usize) -> Self {
                self.$($socket).+.send_queue = bytes;
                self
            }

            /// The longest message that is received in chunks, by `read_message` or with
            /// [`Receive::Chunks`](crate::Receive::Chunks), in bytes. It takes no memory, however long. Default: as `max_message_size`.
            pub fn max_chunked_size(mut self, bytes: u64) -> Self {
                self.config_mut().max_chunked_size = Some(bytes);
                self
            }
        }
    };
}

pub(crate) use socket_options;
