//! Sending: from messages to the transport.

use std::task::{Context, Poll, ready};

use sockeye_proto::connection::{Compress, Connection};
use sockeye_proto::error::SendError;
use sockeye_proto::message::Message;
use tokio::io::{AsyncRead, AsyncWrite};

use super::room::{Deferred, LARGEST_FRAME};
use super::{Driver, Ending, REPLIES_BEHIND};
use crate::error::Error;
use crate::outlet::Inner;

/// What became of something to be sent, in one word, since it is moved for each message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Queued(u64);

impl Queued {
    /// It has left, or will without anybody waiting for it.
    pub(crate) const LEFT: Self = Self(0);
    /// It cannot be sent; [`Driver::refused`] says why.
    pub(crate) const REFUSED: Self = Self(u64::MAX);
    /// It has not been accepted: it waits for room; see [`Driver::poll_deferred`].
    pub(crate) const DEFERRED: Self = Self(u64::MAX - 1);

    /// It waits until the transport has taken the output up to there.
    pub(crate) fn until(self) -> Option<u64> {
        (self != Self::LEFT && self.0 < Self::DEFERRED.0).then_some(self.0)
    }
}

/// Appends something to the output, or answers why it cannot.
type Encode<'a> = dyn FnMut(&mut Connection, &mut Vec<u8>) -> Result<(), SendError> + 'a;

impl<T> Driver<T> {
    /// Encodes something into the output: the part of a send that is done at once or not at all.
    pub(crate) fn queue(
        &mut self,
        encode: impl FnOnce(&mut Connection, &mut Vec<u8>) -> Result<(), SendError>,
    ) -> Result<(), Error> {
        self.leave_if_late();
        self.queue_now(encode)
    }

    pub(super) fn queue_now(
        &mut self,
        encode: impl FnOnce(&mut Connection, &mut Vec<u8>) -> Result<(), SendError>,
    ) -> Result<(), Error> {
        if self.ending != Ending::Not {
            return Err(SendError::Closed.into());
        }
        self.settled = false;
        self.timer.keepalive.passed();
        let (connection, replies) = (&mut self.connection, &mut self.replies);
        self.outlet
            .with(|outlet| encode_into(outlet, connection, replies, encode))
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> Driver<T> {
    /// Whoever waits for the transport to take something waits no longer than the connection may last.
    pub(super) fn poll_patience(&mut self, cx: &mut Context<'_>) -> Poll<Error> {
        self.wait_no_longer(cx);
        if !self.timer.is_closing() {
            return self.poll_timer(cx).map(|error| *error);
        }
        match self.deadline_passed(cx) {
            true => Poll::Ready(self.closing_timed_out()),
            false => Poll::Pending,
        }
    }

    /// Writes all output to the transport and flushes that. An error is final.
    pub(crate) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.settled = false;
        loop {
            let replies = &mut self.replies;
            let (blocked, flushed, progress) = self.outlet.with(|outlet| {
                // Where output is stuck the replies wait here, so that the connection knows of it and keeps back its pongs.
                if outlet.unwritten() <= REPLIES_BEHIND {
                    outlet.output().bytes().append(replies);
                    replies.shrink_to(RETAINED_REPLIES);
                }
                (outlet.is_blocked(), outlet.poll_flush(cx), outlet.take_progress())
            });
            if progress {
                self.unanswered = 0;
                if blocked {
                    // The transport had no room, and now has: the peer lives.
                    self.timer.keepalive.heard();
                }
            }
            ready!(flushed)?;
            self.stalled = false;
            self.connection.resume_output(&mut self.replies);
            if self.replies.is_empty() {
                self.settled = true;
                return Poll::Ready(Ok(()));
            }
        }
    }

    /// Writes what is there by now; see [`poll_send`](Self::poll_send).
    pub(crate) fn poll_flush_all(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let end = self.output_end();
        self.poll_send(cx, end)
    }

    /// The same as [`poll_flush`](Self::poll_flush) for one who has sent something that ends at `end` of the output. It waits for no more than that, such as the
    /// pongs behind it, for which the peer may want to be read first; and no longer than the connection lasts.
    pub(crate) fn poll_send(&mut self, cx: &mut Context<'_>, end: u64) -> Poll<Result<(), Error>> {
        if self.ending == Ending::Over && !self.outlet.with(|outlet| outlet.has_left(end)) {
            return Poll::Ready(Err(Error::ConnectionLost));
        }
        let flushed = self.poll_flush(cx);
        if flushed.is_ready() || self.outlet.with(|outlet| outlet.has_left(end)) {
            return Poll::Ready(match flushed {
                Poll::Ready(flushed) => flushed,
                Poll::Pending => Ok(()),
            });
        }
        self.poll_patience(cx).map(Err)
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin + Send + 'static> Driver<T> {
    /// Queues something, and writes it if there is room. While input is left to be parsed it waits, since more is likely to
    /// follow, until the running task yields.
    #[inline]
    pub(crate) fn send(
        &mut self,
        encode: impl FnOnce(&mut Connection, &mut Vec<u8>) -> Result<(), SendError>,
    ) -> Queued {
        self.leave_if_late();
        if self.ending != Ending::Not {
            return self.refuse(SendError::Closed.into());
        }
        self.settled = false;
        if let Err(error) = encode_into(self.outlet.get(), &mut self.connection, &mut self.replies, encode) {
            self.outlet.settle();
            return self.refuse(error);
        }
        if !self.input.is_empty() && self.outlet.cork() {
            return Queued::LEFT;
        }
        self.write()
    }

    /// Sends a message, and answers as [`send`](Self::send), or that it has to wait. A large payload is not copied.
    #[inline]
    pub(crate) fn send_message(&mut self, message: Message) -> Queued {
        if self.stalled || message.len() >= UNCOPIED {
            return self.send_large(message);
        }
        if !self.settled
            && !self.input.is_empty()
            && let Some(queued) = self.send_corked(&message)
        {
            return queued;
        }
        self.send(|connection, output| connection.send(&message, output))
    }

    /// Sends a small message behind others of the same burst, as nearly all are: `None` where the output is not corked, or
    /// something else than a copy is to be made.
    #[inline]
    fn send_corked(&mut self, message: &Message) -> Option<Queued> {
        self.leave_if_late();
        if self.ending != Ending::Not || !self.replies.is_empty() || self.connection.deflate().is_some() {
            return None;
        }
        let mut corked = self.outlet.corked()?;
        let sent = self.connection.send(message, corked.bytes()?);
        drop(corked);
        Some(match sent {
            Ok(()) => Queued::LEFT,
            Err(error) => self.refuse(error.into()),
        })
    }

    #[inline(never)]
    fn send_large(&mut self, message: Message) -> Queued {
        if self.must_wait() || message.len() > LARGEST_FRAME {
            return self.defer(Deferred::Message(message, Compress::Auto));
        }
        self.send_now(message)
    }

    /// The same for a message that does not have to wait.
    pub(super) fn send_now(&mut self, message: Message) -> Queued {
        if message.len() < UNCOPIED || !self.input.is_empty() {
            return self.send_seldom(&mut |connection, output| connection.send(&message, output));
        }
        self.send_uncopied(message)
    }

    /// The same as [`send`](Self::send), in one copy for all whose calls are few.
    #[inline(never)]
    pub(super) fn send_seldom(&mut self, encode: &mut Encode<'_>) -> Queued {
        self.send(encode)
    }

    fn send_uncopied(&mut self, message: Message) -> Queued {
        let mut uncopied = false;
        let queued = self.queue(|connection, output| {
            uncopied = connection.send_uncopied(&message, UNCOPIED, output)?;
            Ok(())
        });
        if let Err(error) = queued {
            return self.refuse(error);
        }
        if uncopied {
            self.outlet.get().output().set_tail(message.into_bytes());
        }
        self.write()
    }

    /// Writes the output if there is room, and otherwise answers up to where it waits for that.
    fn write(&mut self) -> Queued {
        let (waits, progress) = self.outlet.with(|outlet| (outlet.write(), outlet.take_progress()));
        self.timer.keepalive.passed();
        if progress {
            self.unanswered = 0;
        }
        match waits {
            Ok(None) => {
                self.settled = true;
                self.stalled = false;
                self.connection.resume_output(&mut self.replies);
                Queued::LEFT
            }
            Ok(Some(end)) => {
                self.stalled = true;
                Queued(end)
            }
            Err(error) => self.refuse(error.into()),
        }
    }

    #[cold]
    pub(super) fn refuse(&mut self, error: Error) -> Queued {
        self.rare().refused = Some(error);
        Queued::REFUSED
    }

    /// Why the last thing could not be sent.
    #[cold]
    pub(crate) fn refused(&mut self) -> Result<(), Error> {
        let refused = self.rare.as_mut().and_then(|rare| rare.refused.take());
        refused.map_or(Ok(()), Err)
    }

    /// The caller has been cancelled while it waited for the output to leave: it leaves all the same.
    pub(crate) fn leave(&mut self) {
        self.outlet.leave();
    }
}

#[inline]
fn encode_into<T>(
    outlet: &mut Inner<T>,
    connection: &mut Connection,
    replies: &mut Vec<u8>,
    encode: impl FnOnce(&mut Connection, &mut Vec<u8>) -> Result<(), SendError>,
) -> Result<(), Error> {
    if let Some(error) = outlet.broken() {
        return Err(Error::Io(error));
    }
    let output = outlet.output().bytes();
    // In the order in which they came to be: nothing follows a Close, a pong neither.
    if !replies.is_empty() {
        output.append(replies);
    }
    Ok(encode(connection, output)?)
}

/// The length from which on a payload is not copied into the output, in bytes.
const UNCOPIED: usize = 8 * 1024;

/// Capacity for replies that is kept, in bytes.
const RETAINED_REPLIES: usize = 256;
