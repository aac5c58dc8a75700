//! The run loop: a transport, a [`Connection`], and the bytes between them.
//!
//! All state is in the struct, none in a future, so that any call may be dropped at any point and loses nothing.

mod served;

use std::io;
use std::pin::Pin;
use std::sync::{Arc, MutexGuard};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use sockeye_proto::close::{CloseCode, CloseState};
use sockeye_proto::connection::{Connection, Event, Role};
use sockeye_proto::error::SendError;
use sockeye_proto::keepalive::Timeout;
use sockeye_proto::message::Message;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, Sleep, sleep};

pub(crate) use self::served::Served;
use crate::error::Error;
use crate::input::Input;
use crate::observe::Watch;
use crate::outlet::{Inner, Outlet};

pub(crate) struct Driver<T> {
    outlet: Arc<Outlet<T>>,
    connection: Connection,
    input: Input,
    /// Pongs and a Close, on their way to the output.
    replies: Vec<u8>,
    /// Whether all output is known to have left: nobody appends to it but this.
    settled: bool,
    /// Pings received since the transport last took output.
    unanswered: u32,
    close_within: Duration,
    /// Runs from when a Close was sent, or the connection failed.
    deadline: Option<Pin<Box<Sleep>>>,
    ending: Ending,
    /// Why the connection ends, if not cleanly, until that is told.
    failure: Option<Box<Error>>,
    /// Why the last thing could not be sent.
    refused: Option<Box<Error>>,
    /// Whether the connection has taken leave of the peer since its server shuts down. What still arrives is discarded then:
    /// nobody could answer it.
    leaving: bool,
    /// What ties it to a server, if there is one. After the outlet, so that the place is free when the transport is gone.
    served: Option<Served<T>>,
    watch: Watch,
}

/// What became of something to be sent, in one word, since it is moved for each message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Queued(u64);

impl Queued {
    /// It has left, or will without anybody waiting for it.
    pub(crate) const LEFT: Self = Self(0);
    /// It cannot be sent; [`Driver::refused`] says why.
    pub(crate) const REFUSED: Self = Self(u64::MAX);

    /// It waits until the transport has taken the output up to there.
    pub(crate) fn until(self) -> Option<u64> {
        (self != Self::LEFT && self != Self::REFUSED).then_some(self.0)
    }
}

/// What a step towards the next message came to.
enum Found {
    Message,
    /// More input, in which there may be a small message.
    Input,
    /// The connection has been closed cleanly.
    End,
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
    pub(crate) fn new(io: T, connection: Connection, input: BytesMut, close_within: Duration) -> Self {
        Self {
            outlet: Outlet::new(io),
            watch: Watch::new(connection.role()),
            connection,
            input: Input::new(input),
            replies: Vec::new(),
            settled: true,
            unanswered: 0,
            close_within,
            deadline: None,
            ending: Ending::Not,
            failure: None,
            refused: None,
            leaving: false,
            served: None,
        }
    }

    pub(crate) fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Where the closing handshake stands; a connection that ended without one is closed too.
    pub(crate) fn state(&self) -> CloseState {
        match self.ending {
            Ending::Not => self.connection.state(),
            _ => CloseState::Closed,
        }
    }

    /// The transport, behind its lock.
    pub(crate) fn outlet(&self) -> MutexGuard<'_, Inner<T>> {
        self.outlet.lock()
    }

    /// Encodes something into the output: the part of a send that is done at once or not at all.
    pub(crate) fn queue(
        &mut self,
        encode: impl FnOnce(&mut Connection, &mut Vec<u8>) -> Result<(), SendError>,
    ) -> Result<(), Error> {
        self.leave_if_late();
        self.queue_now(encode)
    }

    fn queue_now(
        &mut self,
        encode: impl FnOnce(&mut Connection, &mut Vec<u8>) -> Result<(), SendError>,
    ) -> Result<(), Error> {
        if self.ending != Ending::Not {
            return Err(SendError::Closed.into());
        }
        self.settled = false;
        let mut outlet = self.outlet.lock();
        encode_into(&mut outlet, &mut self.connection, &mut self.replies, encode)
    }

    /// Where the output ends now; see [`poll_send`](Self::poll_send).
    pub(crate) fn output_end(&self) -> u64 {
        self.outlet.lock().end()
    }

    /// Queues a Close, from when the peer has `close_within` to answer.
    pub(crate) fn queue_close(&mut self, code: CloseCode, reason: &str) -> Result<(), Error> {
        let queued = self.queue_now(|connection, output| connection.close(code, reason, output));
        if !matches!(queued, Err(Error::Send(_))) {
            self.start_deadline();
        }
        queued
    }

    /// The same, if no Close has been queued, for one who then waits for the end, which tells of a broken transport.
    pub(crate) fn begin_close(&mut self, code: CloseCode, reason: &str) -> Result<(), Error> {
        if self.state() != CloseState::Open {
            return Ok(());
        }
        match self.queue_close(code, reason) {
            Err(Error::Io(_)) => Ok(()),
            queued => queued,
        }
    }

    /// Bytes of output that have not been written to the transport.
    pub(crate) fn unwritten(&self) -> usize {
        self.replies.len() + self.outlet.lock().unwritten()
    }

    fn start_deadline(&mut self) {
        let within = self.close_within;
        self.deadline.get_or_insert_with(|| Box::pin(sleep(within)));
    }

    fn end_with(&mut self, failure: Option<Error>) {
        self.start_deadline();
        self.failure = failure.map(Box::new);
        self.ending = Ending::Shutdown;
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> Driver<T> {
    /// The next message; otherwise as [`poll_next`](Self::poll_next).
    ///
    /// Small messages take a short way.
    #[inline]
    pub(crate) fn poll_message(&mut self, cx: &mut Wakers<'_, '_, '_>) -> Poll<Result<Option<Message>, Error>> {
        loop {
            if let Some(message) = self.small_message() {
                return Poll::Ready(Ok(Some(message)));
            }
            let mut other = None;
            match self.poll_other_message(cx, &mut other) {
                Poll::Ready(Ok(Found::Input)) => {}
                Poll::Ready(Ok(Found::Message)) => return Poll::Ready(Ok(other)),
                Poll::Ready(Ok(Found::End)) => return Poll::Ready(Ok(None)),
                Poll::Ready(Err(error)) => return Poll::Ready(Err(*error)),
                Poll::Pending => return Poll::Pending,
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
                        self.ending = Ending::Over;
                        Err(Box::new(error))
                    }
                });
            }
        }
    }

    /// A small message that is there.
    #[inline]
    fn small_message(&mut self) -> Option<Message> {
        if self.input.is_empty() || self.ending != Ending::Not || self.leaving {
            return None;
        }
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
                    self.ending = Ending::Over;
                    return Poll::Ready(Err(error));
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
        match self.input.with_bytes(|input| connection.receive_bytes(input, replies)) {
            Ok(event) => {
                match &event {
                    Some(Event::Close(frame)) => {
                        self.watch.close_received(frame.as_ref());
                        self.end_with(None);
                    }
                    Some(Event::Ping(_)) => self.unanswered += 1,
                    _ => {}
                }
                event
            }
            Err(error) => {
                self.end_with(Some(error.into()));
                None
            }
        }
    }

    /// Ready when there is more input. What was sent meanwhile is written first.
    fn poll_input(&mut self, cx: &mut Wakers<'_, '_, '_>) -> Poll<Result<(), Error>> {
        self.leave_if_told();
        let flushed = if self.settled && self.replies.is_empty() {
            Poll::Ready(Ok(()))
        } else {
            self.poll_flush(cx.write)
        };
        // Before the read: a peer that sends without a pause does not put it off.
        if self.deadline_passed(cx.write) {
            return Poll::Ready(Err(Error::Timeout(Timeout::Close)));
        }
        if flushed.is_pending() && self.unanswered > UNANSWERED_PINGS {
            return match self.leave_or_wait(cx.write) {
                true => self.poll_input(cx),
                false => Poll::Pending,
            };
        }
        match (self.poll_read(cx.read), flushed) {
            (Poll::Ready(Ok(0)), _) => Poll::Ready(Err(Error::ConnectionLost)),
            (Poll::Ready(Ok(_)), _) => Poll::Ready(Ok(())),
            (Poll::Ready(Err(error)), _) => Poll::Ready(Err(error.into())),
            // Only now: what the peer sent before it stopped to read, its Close perhaps, is still delivered.
            (Poll::Pending, Poll::Ready(Err(error))) => Poll::Ready(Err(error)),
            (Poll::Pending, _) if self.leave_or_wait(cx.write) => self.poll_input(cx),
            (Poll::Pending, _) => Poll::Pending,
        }
    }

    /// Writes all output to the transport and flushes that. An error is final.
    pub(crate) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.settled = false;
        loop {
            let mut outlet = self.outlet.lock();
            // Where output is stuck the replies wait here, so that the connection knows of it and keeps back its pongs.
            if outlet.unwritten() <= REPLIES_BEHIND {
                outlet.output().bytes().append(&mut self.replies);
                self.replies.shrink_to(RETAINED_REPLIES);
            }
            let flushed = outlet.poll_flush(cx);
            if outlet.take_progress() {
                self.unanswered = 0;
            }
            ready!(flushed)?;
            drop(outlet);
            self.connection.resume_output(&mut self.replies);
            if self.replies.is_empty() {
                self.settled = true;
                return Poll::Ready(Ok(()));
            }
        }
    }

    /// The same for one who has sent something that ends at `end` of the output. It waits for no more than that, such as the
    /// pongs behind it, for which the peer may want to be read first; and no longer than the connection lasts.
    pub(crate) fn poll_send(&mut self, cx: &mut Context<'_>, end: u64) -> Poll<Result<(), Error>> {
        if self.ending == Ending::Over && !self.outlet.lock().has_left(end) {
            return Poll::Ready(Err(Error::ConnectionLost));
        }
        let flushed = self.poll_flush(cx);
        if flushed.is_pending() && self.outlet.lock().has_left(end) {
            return Poll::Ready(Ok(()));
        }
        if flushed.is_pending() {
            self.wait_no_longer(cx);
            if self.deadline_passed(cx) {
                return Poll::Ready(Err(Error::Timeout(Timeout::Close)));
            }
        }
        flushed
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let (missing, outlet) = (self.connection.missing(), &self.outlet);
        self.input
            .poll_read(missing, |input| outlet.lock().poll_read(cx, input))
    }

    /// Whether the deadline of the closing handshake has passed; if not, wakes whoever waits to write, and so all.
    ///
    /// The clock is asked first: a timer answers nothing to a task that has used up its share of the runtime, as one
    /// always has whose peer sends without a pause.
    fn deadline_passed(&mut self, cx: &mut Context<'_>) -> bool {
        self.deadline
            .as_mut()
            .is_some_and(|deadline| deadline.deadline() <= Instant::now() || deadline.as_mut().poll(cx).is_ready())
    }

    /// The end: write what is left, shut down, and let the peer end its side, all before the deadline.
    fn poll_end(&mut self, cx: &mut Wakers<'_, '_, '_>) -> Poll<Result<(), Error>> {
        if self.poll_shutdown_and_drain(cx).is_pending() && !self.deadline_passed(cx.write) {
            return Poll::Pending;
        }
        self.ending = Ending::Over;
        Poll::Ready(self.failure.take().map_or(Ok(()), |error| Err(*error)))
    }

    /// Ready when the transport is of no more use; errors of it no longer matter.
    fn poll_shutdown_and_drain(&mut self, cx: &mut Wakers<'_, '_, '_>) -> Poll<()> {
        if self.ending == Ending::Shutdown {
            if ready!(self.poll_flush(cx.write)).is_err() {
                return Poll::Ready(());
            }
            // RFC 6455 §5.5.1: "The server MUST close the underlying TCP connection immediately; the client SHOULD wait for
            // the server to close the connection". After a failure both are the one that closes.
            let failed = self.failure.is_some();
            if failed || self.connection.role() == Role::Server {
                if ready!(self.outlet.lock().poll_shutdown(cx.write)).is_err() {
                    return Poll::Ready(());
                }
                // What was received and not read would make the system reset the connection, and the Close with it.
                if !failed && self.input.is_empty() {
                    return Poll::Ready(());
                }
            }
            self.ending = Ending::Drain;
        }
        while self.ending == Ending::Drain {
            if self.deadline_passed(cx.write) {
                break;
            }
            self.input.clear();
            match ready!(self.poll_read(cx.read)) {
                Ok(0) | Err(_) => break,
                Ok(_) => {}
            }
        }
        Poll::Ready(())
    }
}

impl<T: AsyncWrite + Unpin + Send + 'static> Driver<T> {
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
        let mut outlet = self.outlet.lock();
        if let Err(error) = encode_into(&mut outlet, &mut self.connection, &mut self.replies, encode) {
            drop(outlet);
            return self.refuse(error);
        }
        if !self.input.is_empty() {
            match self.outlet.cork(outlet) {
                Ok(()) => return Queued::LEFT,
                Err(now) => outlet = now,
            }
        }
        let (waits, progress) = (outlet.write(), outlet.take_progress());
        drop(outlet);
        self.written(waits, progress)
    }

    /// Sends a message, and answers as [`send`](Self::send). A large payload is not copied.
    #[inline]
    pub(crate) fn send_message(&mut self, message: Message) -> Queued {
        if message.len() < UNCOPIED || !self.input.is_empty() {
            return self.send(|connection, output| connection.send(&message, output));
        }
        self.send_uncopied(message)
    }

    #[inline(never)]
    fn send_uncopied(&mut self, message: Message) -> Queued {
        let mut uncopied = false;
        let queued = self.queue(|connection, output| {
            uncopied = connection.send_uncopied(&message, UNCOPIED, output)?;
            Ok(())
        });
        if let Err(error) = queued {
            return self.refuse(error);
        }
        let mut outlet = self.outlet.lock();
        if uncopied {
            outlet.output().set_tail(message.into_bytes());
        }
        let (waits, progress) = (outlet.write(), outlet.take_progress());
        drop(outlet);
        self.written(waits, progress)
    }

    /// The output has been written, or waits for room up to there.
    fn written(&mut self, waits: io::Result<Option<u64>>, progress: bool) -> Queued {
        if progress {
            self.unanswered = 0;
        }
        match waits {
            Ok(None) => {
                self.settled = true;
                self.connection.resume_output(&mut self.replies);
                Queued::LEFT
            }
            Ok(Some(end)) => Queued(end),
            Err(error) => self.refuse(error.into()),
        }
    }

    #[cold]
    fn refuse(&mut self, error: Error) -> Queued {
        self.refused = Some(Box::new(error));
        Queued::REFUSED
    }

    /// Why the last thing could not be sent.
    #[cold]
    pub(crate) fn refused(&mut self) -> Result<(), Error> {
        self.refused.take().map_or(Ok(()), |error| Err(*error))
    }

    /// The caller has been cancelled while it waited for the output to leave: it leaves all the same.
    pub(crate) fn leave(&self) {
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

/// The longest message that is copied out of the input, in bytes.
const COPIED: usize = 2048;

/// The length from which on a payload is not copied into the output, in bytes.
const UNCOPIED: usize = 8 * 1024;

/// Output that stands unwritten, in bytes, behind which replies still queue up.
const REPLIES_BEHIND: usize = 1024;

/// Capacity for replies that is kept, in bytes.
const RETAINED_REPLIES: usize = 256;

/// Pings received while the transport took nothing, from which on no more is received: the peer asks and does not read.
///
/// Output alone is no reason to stop: two ends that both send much would wait for each other for ever. Nor can two that
/// both ping: the one that reads lets the other write, and then it reads again.
const UNANSWERED_PINGS: u32 = 1024;
