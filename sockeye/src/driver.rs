//! The run loop: a transport, a [`Connection`], and the bytes between them.
//!
//! All state is in the struct, none in a future, so that any call may be dropped at any point and loses nothing.

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

use crate::error::Error;
use crate::outlet::{Inner, Outlet};
use crate::pool::{self, READ_SIZE};

pub(crate) struct Driver<T> {
    outlet: Arc<Outlet<T>>,
    connection: Connection,
    /// Received and not yet consumed; without storage while there is nothing.
    input: BytesMut,
    /// Pongs and a Close, on their way to the output.
    replies: Vec<u8>,
    /// Pings received since the transport last took output.
    unanswered: usize,
    close_within: Duration,
    /// Runs from when a Close was sent, or the connection failed.
    deadline: Option<Pin<Box<Sleep>>>,
    ending: Ending,
}

/// How far the end of the connection has come.
enum Ending {
    /// Messages flow.
    Not,
    /// What is left is to be written, then our side of the transport shut down, then the peer's end awaited; after that
    /// the result is told.
    Shutdown(Outcome),
    Drain(Outcome),
    /// The result has been told.
    Over,
}

type Outcome = Result<(), Error>;

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
            connection,
            input,
            replies: Vec::new(),
            unanswered: 0,
            close_within,
            deadline: None,
            ending: Ending::Not,
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
        if !matches!(self.ending, Ending::Not) {
            return Err(SendError::Closed.into());
        }
        let mut outlet = self.outlet.lock();
        encode_into(&mut outlet, &mut self.connection, &mut self.replies, encode)
    }

    /// Where the output ends now; see [`poll_send`](Self::poll_send).
    pub(crate) fn output_end(&self) -> u64 {
        self.outlet.lock().end()
    }

    /// Queues a Close, from when the peer has `close_within` to answer.
    pub(crate) fn queue_close(&mut self, code: CloseCode, reason: &str) -> Result<(), Error> {
        let queued = self.queue(|connection, output| connection.close(code, reason, output));
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

    fn end_with(&mut self, outcome: Outcome) {
        self.start_deadline();
        self.ending = Ending::Shutdown(outcome);
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> Driver<T> {
    /// The next event of which `take` makes something; `None` when the connection has been closed cleanly. An error is told
    /// once, and is the last.
    #[inline]
    pub(crate) fn poll_next<R>(
        &mut self,
        cx: &mut Wakers<'_, '_, '_>,
        mut take: impl FnMut(Event<Bytes>) -> Option<R>,
    ) -> Poll<Result<Option<R>, Error>> {
        loop {
            if !matches!(self.ending, Ending::Not) {
                return self.poll_end(cx).map(|outcome| outcome.map(|()| None));
            }
            match self.connection.receive_bytes(&mut self.input, &mut self.replies) {
                Ok(Some(event)) => {
                    match event {
                        Event::Close(_) => self.end_with(Ok(())),
                        Event::Ping(_) => self.unanswered += 1,
                        _ => {}
                    }
                    if let Some(taken) = take(event) {
                        return Poll::Ready(Ok(Some(taken)));
                    }
                    continue;
                }
                Ok(None) => {}
                Err(error) => {
                    self.end_with(Err(error.into()));
                    continue;
                }
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

    /// Ready when there is more input. What was sent meanwhile is written first.
    fn poll_input(&mut self, cx: &mut Wakers<'_, '_, '_>) -> Poll<Result<(), Error>> {
        let flushed = self.poll_flush(cx.write);
        // Before the read: a peer that sends without a pause does not put it off.
        if self.deadline_passed(cx.write) {
            return Poll::Ready(Err(Error::Timeout(Timeout::Close)));
        }
        if flushed.is_pending() && self.unanswered > UNANSWERED_PINGS {
            return Poll::Pending;
        }
        match (self.poll_read(cx.read), flushed) {
            (Poll::Ready(Ok(0)), _) => Poll::Ready(Err(Error::ConnectionLost)),
            (Poll::Ready(Ok(_)), _) => Poll::Ready(Ok(())),
            (Poll::Ready(Err(error)), _) => Poll::Ready(Err(error.into())),
            // Only now: what the peer sent before it stopped to read, its Close perhaps, is still delivered.
            (Poll::Pending, Poll::Ready(Err(error))) => Poll::Ready(Err(error)),
            (Poll::Pending, _) => Poll::Pending,
        }
    }

    /// Writes all output to the transport and flushes that. An error is final.
    pub(crate) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        loop {
            let mut outlet = self.outlet.lock();
            // Where output is stuck the replies wait here, so that the connection knows of it and keeps back its pongs.
            if outlet.unwritten() <= REPLIES_BEHIND {
                outlet.output().append(&mut self.replies);
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
                return Poll::Ready(Ok(()));
            }
        }
    }

    /// The same for one who has sent something that ends at `end` of the output. It waits for no more than that, such as the
    /// pongs behind it, for which the peer may want to be read first; and no longer than the connection lasts.
    pub(crate) fn poll_send(&mut self, cx: &mut Context<'_>, end: u64) -> Poll<Result<(), Error>> {
        if matches!(self.ending, Ending::Over) && !self.outlet.lock().has_left(end) {
            return Poll::Ready(Err(Error::ConnectionLost));
        }
        let flushed = self.poll_flush(cx);
        if flushed.is_pending() && self.outlet.lock().has_left(end) {
            return Poll::Ready(Ok(()));
        }
        if flushed.is_pending() && self.deadline_passed(cx) {
            return Poll::Ready(Err(Error::Timeout(Timeout::Close)));
        }
        flushed
    }

    /// One read, of as much as is there. Waiting, a buffer with little in it is given back.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let length = self.input.len();
        if length <= KEPT_INPUT && self.input.capacity() - length < READ_SIZE / 4 {
            let mut input = pool::take_input();
            input.extend_from_slice(&self.input);
            pool::put_input(std::mem::replace(&mut self.input, input));
        }
        grow(&mut self.input, self.connection.missing());
        let read = self.outlet.lock().poll_read(cx, &mut self.input);
        let length = self.input.len();
        if read.is_pending() && length <= READ_SIZE / 4 && self.input.capacity() >= 4 * length {
            // Room to grow in for what is larger, so that it is not moved for each byte that comes.
            let room = if length <= KEPT_INPUT { length } else { 2 * length };
            let mut kept = BytesMut::with_capacity(room);
            kept.extend_from_slice(&self.input);
            pool::put_input(std::mem::replace(&mut self.input, kept));
        }
        read
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
    fn poll_end(&mut self, cx: &mut Wakers<'_, '_, '_>) -> Poll<Outcome> {
        if self.poll_shutdown_and_drain(cx).is_pending() && !self.deadline_passed(cx.write) {
            return Poll::Pending;
        }
        match std::mem::replace(&mut self.ending, Ending::Over) {
            Ending::Shutdown(outcome) | Ending::Drain(outcome) => Poll::Ready(outcome),
            Ending::Not | Ending::Over => Poll::Ready(Ok(())),
        }
    }

    /// Ready when the transport is of no more use; errors of it no longer matter.
    fn poll_shutdown_and_drain(&mut self, cx: &mut Wakers<'_, '_, '_>) -> Poll<()> {
        if let Ending::Shutdown(_) = self.ending {
            if ready!(self.poll_flush(cx.write)).is_err() {
                return Poll::Ready(());
            }
            // RFC 6455 §5.5.1: "The server MUST close the underlying TCP connection immediately; the client SHOULD wait for
            // the server to close the connection". After a failure both are the one that closes.
            let failed = matches!(self.ending, Ending::Shutdown(Err(_)));
            if failed || self.connection.role() == Role::Server {
                if ready!(self.outlet.lock().poll_shutdown(cx.write)).is_err() {
                    return Poll::Ready(());
                }
                // What was received and not read would make the system reset the connection, and the Close with it.
                if !failed && self.input.is_empty() {
                    return Poll::Ready(());
                }
            }
            if let Ending::Shutdown(outcome) = std::mem::replace(&mut self.ending, Ending::Over) {
                self.ending = Ending::Drain(outcome);
            }
        }
        while let Ending::Drain(_) = self.ending {
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
    /// Queues something, and answers where it ends in the output; or `None` if the output can be left until the running
    /// task yields: while input is left to be parsed, more of it is likely to follow.
    #[inline]
    pub(crate) fn queue_corked(
        &mut self,
        encode: impl FnOnce(&mut Connection, &mut Vec<u8>) -> Result<(), SendError>,
    ) -> Result<Option<u64>, Error> {
        if !matches!(self.ending, Ending::Not) {
            return Err(SendError::Closed.into());
        }
        let mut outlet = self.outlet.lock();
        encode_into(&mut outlet, &mut self.connection, &mut self.replies, encode)?;
        let end = outlet.end();
        let corked = !self.input.is_empty() && self.outlet.cork(outlet);
        Ok((!corked).then_some(end))
    }
}

impl<T: AsyncWrite + Unpin + Send + 'static> Driver<T> {
    /// The caller has been cancelled while it waited for the output to leave: it leaves all the same.
    pub(crate) fn leave(&self) {
        self.outlet.leave();
    }

    /// Queues a message, and answers as [`queue_corked`](Self::queue_corked). A large payload is not copied.
    #[inline]
    pub(crate) fn queue_message(&mut self, message: Message) -> Result<Option<u64>, Error> {
        if message.len() < UNCOPIED || !self.input.is_empty() {
            return self.queue_corked(|connection, output| connection.send(&message, output));
        }
        let mut uncopied = false;
        self.queue(|connection, output| {
            uncopied = connection.send_uncopied(&message, UNCOPIED, output)?;
            Ok(())
        })?;
        let mut outlet = self.outlet.lock();
        if uncopied {
            outlet.set_tail(message.into_bytes());
        }
        Ok(Some(outlet.end()))
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
    let output = outlet.output();
    // In the order in which they came to be: nothing follows a Close, a pong neither.
    if !replies.is_empty() {
        output.append(replies);
    }
    Ok(encode(connection, output)?)
}

/// Makes room for a read: for `missing` bytes of a frame that must be whole, in steps that double what has arrived, so
/// that the peer pays for what it claims; else for as much as is likely to be there.
fn grow(input: &mut BytesMut, missing: u64) {
    let missing = usize::try_from(missing).unwrap_or(usize::MAX);
    let (length, free) = (input.len(), input.capacity() - input.len());
    if missing == 0 {
        if free < READ_SIZE / 4 {
            input.reserve(READ_SIZE.saturating_sub(length).max(READ_SIZE / 4));
        }
        return;
    }
    if free >= missing || free >= READ_SIZE / 4 {
        return;
    }
    // Halve the final size until it is no more than twice what is there: the last step then ends exactly at the frame's
    // end, and no step moves more than has arrived since the one before.
    let mut size = length.saturating_add(missing);
    while size / 2 >= 2 * length.max(READ_SIZE / 2) {
        size = size.div_ceil(2);
    }
    input.reserve(size - length);
}

/// What is kept of the start of a frame in a buffer of its own size, in bytes; more stays where it is.
const KEPT_INPUT: usize = 4 * 1024;

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
const UNANSWERED_PINGS: usize = 1024;
