//! The run loop: a transport, a [`Connection`], and the bytes between them.
//!
//! All state is in the struct, none in a future, so that any call may be dropped at any point and loses nothing.

mod end;
mod rare;
mod receive;
mod room;
mod send;
mod served;
mod timer;

use std::task::Context;

use bytes::BytesMut;
use sockeye_proto::connection::Connection;

pub use self::rare::{ClosedBy, RoundTrip};
pub(crate) use self::receive::Piece;
pub use self::room::Delivery;
pub(crate) use self::room::{Deferred, LARGEST_FRAME, piece, rest};
pub(crate) use self::send::Queued;
pub(crate) use self::served::Served;

use self::rare::Rare;
use self::timer::Timer;
use crate::input::Input;
use crate::observe::Watch;
use crate::options::SocketOptions;
use crate::outlet::{Inner, Outlet};

pub(crate) struct Driver<T> {
    outlet: Outlet<T>,
    connection: Connection,
    input: Input,
    /// Pongs and a Close, on their way to the output.
    replies: Vec<u8>,
    timer: Timer,
    rare: Option<Box<Rare>>,
    /// Pings received since the transport last took output.
    unanswered: u32,
    /// Output, in bytes, from which on more waits for room.
    send_queue: u32,
    /// Whether all output is known to have left: nobody appends to it but this.
    settled: bool,
    /// Whether the transport had no room for the output when it was last written.
    stalled: bool,
    /// Whether a message is being sent in pieces, between which no other may come.
    pub(crate) streaming: bool,
    /// Whether some of a message has been handed over, and its end has not.
    within_message: bool,
    ending: Ending,
    /// Whether the connection has taken leave of the peer since its server shuts down. What still arrives is discarded then:
    /// nobody could answer it.
    leaving: bool,
    /// What ties it to a server, if there is one. After the outlet, so that the place is free when the transport is gone.
    served: Option<Served<T>>,
    watch: Watch,
}

/// How far the end of the connection has come.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ending {
    /// Messages flow.
    Not,
    /// What is left is to be written, then our side of the transport shut down, then the peer's end awaited; after that
    /// the result is told.
    Shutdown,
    Drain,
    /// The result has been told.
    Over,
}

/// The two wakers of one poll: whom to wake when there is something to read, and when there is room to write. They
/// differ only where the halves of a connection are polled by different tasks.
pub(crate) struct Wakers<'a, 'b, 'c> {
    pub(crate) read: &'a mut Context<'b>,
    pub(crate) write: &'a mut Context<'c>,
}

impl<T> Driver<T> {
    pub(crate) fn new(io: T, connection: Connection, input: BytesMut, options: &SocketOptions, watch: Watch) -> Self {
        Self {
            outlet: Outlet::new(io),
            watch,
            connection,
            input: Input::new(input),
            replies: Vec::new(),
            timer: Timer::new(options.timing.clone()),
            rare: None,
            unanswered: 0,
            send_queue: u32::try_from(options.send_queue).unwrap_or(u32::MAX),
            settled: true,
            stalled: false,
            streaming: false,
            within_message: false,
            ending: Ending::Not,
            leaving: false,
            served: None,
        }
    }

    pub(crate) fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Looks at the transport and its output.
    pub(crate) fn look<R>(&self, look: impl FnOnce(&Inner<T>) -> R) -> R {
        self.outlet.look(look)
    }

    /// Where the output ends now; see [`poll_send`](Self::poll_send).
    pub(crate) fn output_end(&self) -> u64 {
        self.look(Inner::end)
    }

    /// Bytes of output that have not been written to the transport.
    pub(crate) fn unwritten(&self) -> usize {
        self.replies.len() + self.look(Inner::unwritten)
    }

    /// Whether some of a message has been handed over, and its end has not.
    pub(crate) fn is_within_message(&self) -> bool {
        self.within_message
    }
}

/// Output that stands unwritten, in bytes, behind which replies still queue up.
const REPLIES_BEHIND: usize = 1024;
