//! Receiving: from the transport to events.

use std::io;
use std::task::{Context, Poll};

use bytes::Bytes;
use sockeye_proto::connection::{Event, Receive};
use sockeye_proto::message::{Message, MessageKind};
use tokio::io::{AsyncRead, AsyncWrite};

use super::{Driver, Ending, Wakers};
use crate::error::Error;

/// What a step towards the next message came to.
enum Found {
    Message,
    /// More input, in which there may be a small message.
    Input,
    /// The connection has been closed cleanly.
    End,
}

/// Some of a message, or all of it.
pub(crate) struct Piece {
    pub(crate) kind: MessageKind,
    pub(crate) data: Bytes,
    /// Whether the message ends with it.
    pub(crate) fin: bool,
}

impl<T: AsyncRead + AsyncWrite + Unpin> Driver<T> {
    /// The next message where there is no [`small_message`](Self::small_message); otherwise as
    /// [`poll_next`](Self::poll_next).
    pub(crate) fn poll_message(&mut self, cx: &mut Wakers<'_, '_, '_>) -> Poll<Result<Option<Message>, Error>> {
        loop {
            let mut other = None;
            match self.poll_other_message(cx, &mut other) {
                Poll::Ready(Ok(Found::Input)) => {}
                Poll::Ready(Ok(Found::Message)) => return Poll::Ready(Ok(other)),
                Poll::Ready(Ok(Found::End)) => return Poll::Ready(Ok(None)),
                Poll::Ready(Err(error)) => return Poll::Ready(Err(*error)),
                Poll::Pending => return Poll::Pending,
            }
            if let Some(message) = self.small_message() {
                return Poll::Ready(Ok(Some(message)));
            }
        }
    }

    /// Puts the next message into `other` if it is there, and otherwise waits for input or the end.
    #[inline(never)]
    fn poll_other_message(
        &mut self,
        cx: &mut Wakers<'_, '_, '_>,
        other: &mut Option<Message>,
    ) -> Poll<Result<Found, Box<Error>>> {
        self.receive_as_configured();
        if self.input.is_begun() {
            // Small messages, of which nothing is noted one by one.
            self.timer.keepalive.passed();
        }
        loop {
            if self.ending != Ending::Not {
                return self
                    .poll_end(cx)
                    .map(|ended| ended.map(|()| Found::End).map_err(Box::new));
            }
            let nothing = self.input.is_empty() && self.connection.is_between_messages();
            if !nothing && let Some(event) = self.next_event() {
                *other = event.into_message();
                if other.is_some() {
                    return Poll::Ready(Ok(Found::Message));
                }
                continue;
            }
            if self.ending == Ending::Not {
                return self.poll_input(cx).map(|read| match read {
                    Ok(()) => Ok(Found::Input),
                    Err(error) => {
                        self.end_by(&error);
                        Err(error)
                    }
                });
            }
        }
    }

    /// A small message that is there: the short way of nearly all messages that arrive with others.
    #[inline]
    pub(crate) fn small_message(&mut self) -> Option<Message> {
        if self.input.is_empty() || self.ending != Ending::Not || self.leaving {
            return None;
        }
        self.take_small_message()
    }

    fn take_small_message(&mut self) -> Option<Message> {
        let (consumed, message) = self.connection.receive_small(self.input.unread(), COPIED)?;
        self.input.consume(consumed);
        Some(message)
    }

    /// The next event of which `take` makes something; `None` when the connection has been closed cleanly. An error is told
    /// once, and is the last.
    #[inline]
    pub(crate) fn poll_next<R>(
        &mut self,
        cx: &mut Wakers<'_, '_, '_>,
        mut take: impl FnMut(Event<Bytes>) -> Option<R>,
    ) -> Poll<Result<Option<R>, Error>> {
        self.receive_as_configured();
        let whole = self.connection.config().receive == Receive::Messages;
        self.poll_event(cx, |event| match event {
            // The rest of a message whose reader was dropped.
            Event::Chunk { .. } if whole => None,
            event => take(event),
        })
    }

    /// A reader of a single message may have been here before.
    fn receive_as_configured(&mut self) {
        let receive = self.connection.config().receive;
        self.connection.set_receive(receive);
    }

    /// The next piece of a message: all of it, if it has begun to be received as a whole. Of a message that was given up
    /// after some of its pieces, the rest is passed over if `skip` says so.
    pub(crate) fn poll_piece(
        &mut self,
        cx: &mut Wakers<'_, '_, '_>,
        skip: &mut bool,
    ) -> Poll<Result<Option<Piece>, Error>> {
        self.connection.set_receive(Receive::Chunks);
        self.poll_event(cx, |event| {
            let (kind, data, fin) = match event {
                Event::Chunk { kind, data, fin } => (kind, data, fin),
                event => {
                    let message = event.into_message()?;
                    (message.kind(), message.into_bytes(), true)
                }
            };
            if *skip {
                *skip = !fin;
                return None;
            }
            Some(Piece { kind, data, fin })
        })
    }

    fn poll_event<R>(
        &mut self,
        cx: &mut Wakers<'_, '_, '_>,
        mut take: impl FnMut(Event<Bytes>) -> Option<R>,
    ) -> Poll<Result<Option<R>, Error>> {
        loop {
            if self.ending != Ending::Not {
                return self.poll_end(cx).map(|outcome| outcome.map(|()| None));
            }
            if let Some(event) = self.next_event() {
                if let Some(taken) = take(event) {
                    return Poll::Ready(Ok(Some(taken)));
                }
                continue;
            }
            if self.ending != Ending::Not {
                continue;
            }
            match self.poll_input(cx) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(error)) => {
                    self.end_by(&error);
                    return Poll::Ready(Err(*error));
                }
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    /// The next event in the input; without one, it wants more, or the connection has failed.
    fn next_event(&mut self) -> Option<Event<Bytes>> {
        loop {
            let event = self.any_event()?;
            if !self.leaving || matches!(event, Event::Ping(_) | Event::Pong(_) | Event::Close(_)) {
                return Some(event);
            }
        }
    }

    fn any_event(&mut self) -> Option<Event<Bytes>> {
        let (connection, replies) = (&mut self.connection, &mut self.replies);
        let event = self.input.with_bytes(|input| connection.receive_bytes(input, replies));
        let event = event.map_err(|error| self.fail(error)).ok()??;
        match &event {
            Event::Close(frame) => self.close_was_received(frame.as_ref()),
            Event::Ping(_) => self.unanswered += 1,
            Event::Pong(payload) => self.pong_received(payload),
            Event::Chunk { fin, .. } => {
                self.timer.keepalive.passed();
                self.within_message = !fin;
            }
            _ => self.timer.keepalive.passed(),
        }
        Some(event)
    }

    /// Ready when there is more input. What was sent meanwhile is written first.
    ///
    /// Errors are in boxes here, so that what usually comes back is in registers.
    #[allow(
        clippy::inline_always,
        reason = "with one message in flight, what a call saves and restores counts; there are two callers"
    )]
    #[inline(always)]
    fn poll_input(&mut self, cx: &mut Wakers<'_, '_, '_>) -> Poll<Result<(), Box<Error>>> {
        self.leave_if_told();
        let mut stuck = false;
        let mut failed = None;
        if !self.settled || !self.replies.is_empty() {
            if !self.settled {
                self.timer.keepalive.passed();
            }
            match self.poll_flush(cx.write) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(error)) => failed = Some(Box::new(error)),
                Poll::Pending => stuck = true,
            }
        }
        // Before the read: a peer that sends without a pause does not put it off.
        if self.timer.is_closing() && self.deadline_passed(cx.write) {
            return Poll::Ready(Err(Box::new(self.closing_timed_out())));
        }
        if !(stuck && self.unanswered > UNANSWERED_PINGS) {
            match self.poll_read(cx.read) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(Box::new(Error::ConnectionLost))),
                Poll::Ready(Ok(_)) => {
                    self.timer.keepalive.heard();
                    return Poll::Ready(Ok(()));
                }
                Poll::Ready(Err(error)) => return Poll::Ready(Err(Box::new(error.into()))),
                Poll::Pending => {}
            }
        }
        // Only now: what the peer sent before it stopped to read, its Close perhaps, is still delivered.
        if let Some(error) = failed {
            return Poll::Ready(Err(error));
        }
        self.poll_while_idle(cx)
    }

    /// Nothing has come: has the task woken when something else is due. Ready when the connection is to be given up.
    #[inline]
    fn poll_while_idle(&mut self, cx: &mut Wakers<'_, '_, '_>) -> Poll<Result<(), Box<Error>>> {
        // The timer is set for no task that the server does not know to wake too.
        if self.timer.is_quiet(cx.write.waker()) && !self.timer.is_closing() {
            return Poll::Pending;
        }
        self.poll_due_while_idle(cx)
    }

    #[inline(never)]
    fn poll_due_while_idle(&mut self, cx: &mut Wakers<'_, '_, '_>) -> Poll<Result<(), Box<Error>>> {
        if self.leave_or_wait(cx.write) {
            return self.poll_input(cx);
        }
        if self.timer.is_closing() {
            return Poll::Pending;
        }
        self.poll_timer(cx.write).map(Err)
    }

    #[allow(clippy::inline_always, reason = "as `poll_input`")]
    #[inline(always)]
    pub(super) fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let (missing, outlet) = (self.connection.missing(), &mut self.outlet);
        self.input
            .poll_read(missing, |input| outlet.with(|outlet| outlet.poll_read(cx, input)))
    }
}

/// The longest message that is copied out of the input, in bytes.
const COPIED: usize = 2048;

/// Pings received while the transport took nothing, from which on no more is received: the peer asks and does not read.
///
/// Output alone is no reason to stop: two ends that both send much would wait for each other for ever. Nor can two that
/// both ping: the one that reads lets the other write, and then it reads again.
const UNANSWERED_PINGS: u32 = 1024;
