//! Backpressure: what is not accepted for sending because much waits for the transport already.
//!
//! There is room while less is queued than the limit, so a queue holds the limit and one message at most. What a task
//! sends without room waits with the task. A message longer than [`LARGEST_FRAME`] is sent in fragments, the next one when
//! the one before has left, so that a pong or a Close never waits for more than the frame on its way.

use std::task::{Context, Poll, ready};

use bytes::Bytes;
use sockeye_proto::close::CloseState;
use sockeye_proto::connection::{Compress, Connection};
use sockeye_proto::error::SendError;
use sockeye_proto::message::{Message, Payload};
use sockeye_proto::prepared::Prepared;
use tokio::io::{AsyncRead, AsyncWrite};

use super::{Driver, Ending, Queued, REPLIES_BEHIND, RoundTrip};
use crate::error::Error;
use crate::outlet::Inner;

/// What became of a message that was offered and not waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[must_use = "a message may have been dropped"]
pub enum Delivery {
    /// The transport has taken it, or takes it with others as soon as the task yields.
    Sent,
    /// It waits, and leaves when the peer has read what is before it.
    Queued,
    /// There was no room: it was not accepted, and nothing of it is sent.
    Dropped,
}

/// What waits for room to be sent.
#[derive(Debug)]
pub(crate) enum Deferred {
    Message(Message, Compress),
    /// The rest of a large message from there, whose beginning is on its way.
    Rest(Message, Compress, usize),
    Fragment(Message, bool),
    Prepared(Prepared),
    Ping(Bytes),
    Pong(Bytes),
}

impl<T> Driver<T> {
    /// Whether less is queued than the limit.
    pub(crate) fn has_room(&self) -> bool {
        let queued = self.look(Inner::unwritten);
        queued == 0 || (queued as u64) < u64::from(self.send_queue)
    }

    /// Whether a ping or pong is accepted: also without room, but for a few.
    pub(crate) fn has_room_for_control(&self) -> bool {
        self.replies.len() < CONTROL_QUEUE || self.has_room()
    }

    /// Queues a ping or a pong: without room before the data that waits for it, with the answers to the peer's pings.
    pub(crate) fn queue_control(
        &mut self,
        encode: impl FnOnce(&mut Connection, &mut Vec<u8>) -> Result<(), SendError>,
    ) -> Result<(), Error> {
        if self.has_room() {
            return self.queue(encode);
        }
        self.check_open()?;
        Ok(encode(&mut self.connection, &mut self.replies)?)
    }

    /// Whether what is sent now has to wait for room. Cheap while the transport takes what it is given.
    #[inline]
    pub(crate) fn must_wait(&self) -> bool {
        self.stalled && !self.has_room()
    }

    /// Reserves the connection for a message in pieces.
    pub(crate) fn begin_streaming(&mut self) -> Result<(), Error> {
        self.check_open()?;
        self.streaming = true;
        Ok(())
    }

    /// Whether anything can still be sent.
    pub(crate) fn check_open(&self) -> Result<(), Error> {
        if self.ending != Ending::Not || self.connection.state() != CloseState::Open {
            return Err(SendError::Closed.into());
        }
        self.look(Inner::broken).map_or(Ok(()), |error| Err(Error::Io(error)))
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> Driver<T> {
    /// Ready when there is room. An error is final.
    pub(crate) fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.poll_until_queued(cx, self.send_queue)
    }

    /// Ready when a further frame of a message in pieces may follow: when the answers to control frames that arrived during
    /// the one before may, which then stand before it. An error is final.
    pub(crate) fn poll_next_frame(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.poll_until_queued(cx, REPLIES_BEHIND as u32 + 1)
    }

    /// Ready when at most half of the limit is queued.
    pub(crate) fn poll_drained(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.poll_until_queued(cx, self.send_queue / 2 + 1)
    }

    /// Ready when less than `limit` bytes are queued, or nothing.
    fn poll_until_queued(&mut self, cx: &mut Context<'_>, limit: u32) -> Poll<Result<(), Error>> {
        self.check_open()?;
        if self.poll_flush(cx)?.is_ready() || (self.look(Inner::unwritten) as u64) < u64::from(limit) {
            return Poll::Ready(Ok(()));
        }
        self.poll_patience(cx).map(Err)
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin + Send + 'static> Driver<T> {
    /// Keeps something until there is room.
    #[cold]
    pub(crate) fn defer(&mut self, deferred: Deferred) -> Queued {
        self.finish_rest();
        self.rare().deferred = Some(deferred);
        Queued::DEFERRED
    }

    /// Ready when what waited for room has been accepted, or cannot be.
    pub(crate) fn poll_deferred(&mut self, cx: &mut Context<'_>) -> Poll<Queued> {
        loop {
            let ready = match self.rare().deferred {
                Some(Deferred::Rest(..)) => self.poll_next_frame(cx),
                _ => self.poll_room(cx),
            };
            if let Err(error) = ready!(ready) {
                self.rare().deferred = None;
                return Poll::Ready(self.refuse(error));
            }
            let queued = match self.rare().deferred.take() {
                None => Queued::LEFT,
                Some(Deferred::Message(message, compress)) if message.len() > LARGEST_FRAME => {
                    self.send_piece(message, compress, 0)
                }
                Some(Deferred::Message(message, Compress::Auto)) => self.send_now(message),
                Some(Deferred::Message(message, compress)) => {
                    self.send_seldom(&mut |connection, output| connection.send_with(&message, compress, output))
                }
                Some(Deferred::Rest(message, compress, at)) => self.send_piece(message, compress, at),
                Some(Deferred::Fragment(message, fin)) => self.send_seldom(&mut |connection, output| {
                    connection.send_fragment(&message, fin, Compress::Auto, output)
                }),
                Some(Deferred::Prepared(prepared)) => {
                    self.send_seldom(&mut |connection, output| connection.send_prepared(&prepared, output))
                }
                Some(Deferred::Ping(payload)) => {
                    self.send_seldom(&mut |connection, output| connection.ping(&payload, output))
                }
                Some(Deferred::Pong(payload)) => {
                    self.send_seldom(&mut |connection, output| connection.pong(&payload, output))
                }
            };
            if queued == Queued::REFUSED || self.rare().deferred.is_none() {
                return Poll::Ready(queued);
            }
        }
    }

    /// Sends the next frame of a large message, and keeps the rest.
    fn send_piece(&mut self, message: Message, compress: Compress, at: usize) -> Queued {
        let (payload, end) = piece(Payload::from(&message), at);
        let fin = end == message.len();
        let queued =
            self.send_seldom(&mut |connection, output| connection.send_fragment(payload, fin, compress, output));
        if queued != Queued::REFUSED && !fin {
            self.rare().deferred = Some(Deferred::Rest(message, compress, end));
        }
        queued
    }

    /// Nobody waits for room any more. What has not begun to be sent is forgotten; the rest of what has is sent.
    #[cold]
    pub(crate) fn cancel_deferred(&mut self) {
        self.finish_rest();
        if let Some(rare) = &mut self.rare {
            rare.deferred = None;
        }
        self.leave();
    }

    fn finish_rest(&mut self) {
        let deferred = self.rare.as_mut().and_then(|rare| rare.deferred.take());
        if let Some(Deferred::Rest(message, compress, at)) = deferred {
            let rest = rest(Payload::from(&message), at);
            // If it cannot be sent, neither can anything else: that is told then.
            let _ = self.queue(|connection, output| connection.send_fragment(rest, true, compress, output));
        }
    }

    /// Sends a message if there is room.
    pub(crate) fn try_send(&mut self, message: Message) -> Result<Delivery, Error> {
        self.check_open()?;
        self.finish_rest();
        if self.streaming || self.must_wait() {
            return Ok(Delivery::Dropped);
        }
        match self.send_now(message) {
            Queued::LEFT => Ok(Delivery::Sent),
            Queued::REFUSED => self.refused().map(|()| Delivery::Dropped),
            _ => {
                self.leave();
                Ok(Delivery::Queued)
            }
        }
    }

    /// Sends a ping, or a pong that nobody asked for, and answers as [`send`](Self::send).
    pub(crate) fn send_control(&mut self, pong: bool, payload: &[u8]) -> Queued {
        let encode = |connection: &mut Connection, output: &mut Vec<u8>| match pong {
            true => connection.pong(payload, output),
            false => connection.ping(payload, output),
        };
        if !self.must_wait() {
            return self.send(encode);
        }
        if !self.has_room_for_control() {
            let payload = Bytes::copy_from_slice(payload);
            return self.defer(if pong {
                Deferred::Pong(payload)
            } else {
                Deferred::Ping(payload)
            });
        }
        match self.queue_control(encode) {
            Ok(()) => Queued::LEFT,
            Err(error) => self.refuse(error),
        }
    }

    /// Sends a ping whose answer is awaited, and does not wait for it to leave.
    pub(crate) fn send_measuring(&mut self) -> Result<RoundTrip, Error> {
        let (nonce, round_trip) = self.measure();
        self.queue_control(|connection, output| connection.ping(&nonce, output))?;
        self.leave();
        Ok(round_trip)
    }
}

/// The next piece of a payload from `at`, and where it ends. Each piece of a text is text.
pub(crate) fn piece(payload: Payload<'_>, at: usize) -> (Payload<'_>, usize) {
    let end = at.saturating_add(FRAGMENT);
    match payload {
        Payload::Text(text) => {
            let end = text.floor_char_boundary(end);
            (Payload::Text(&text[at..end]), end)
        }
        Payload::Binary(bytes) => {
            let end = end.min(bytes.len());
            (Payload::Binary(&bytes[at..end]), end)
        }
    }
}

/// All that is left of it from there.
pub(crate) fn rest(payload: Payload<'_>, at: usize) -> Payload<'_> {
    match payload {
        Payload::Text(text) => Payload::Text(&text[at..]),
        Payload::Binary(bytes) => Payload::Binary(&bytes[at..]),
    }
}

/// How much of pings and pongs is accepted without room, in bytes.
const CONTROL_QUEUE: usize = 1024;

/// The longest message that is sent as one frame, in bytes.
pub(crate) const LARGEST_FRAME: usize = 1024 * 1024;

/// The fragments in which a longer one is sent, in bytes.
const FRAGMENT: usize = 256 * 1024;
