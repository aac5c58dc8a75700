//! The run loop: read, parse, answer; and the end of the connection. It owes the core the same as the async driver.

use std::io;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use sockeye_proto::close::CloseState;
use sockeye_proto::connection::{Event, Role};
use sockeye_proto::keepalive::{Due, Keepalive, Timeout, Timing};
use sockeye_proto::message::Message;

use super::clock;
use super::deadline::{self, Deadline, is_timeout};
use super::outbox::{Outbox, Outgoing, Patience};
use super::transport::Transport;
use crate::entropy;
use crate::error::Error;
use crate::input::Input;

pub(super) struct Driver<S, O> {
    pub(super) io: S,
    pub(super) outbox: O,
    pub(super) write_timeout: Option<Duration>,
    input: Input,
    /// When the connection was opened, and the schedule since then.
    epoch: Instant,
    keepalive: Keepalive,
    ending: Ending,
    /// Why the connection ends, if not cleanly, until that is told.
    failure: Option<Error>,
}

/// What a step came to.
pub(super) enum Step<R> {
    Found(R),
    /// The connection has been closed cleanly.
    Closed,
    /// The caller's deadline has passed.
    TimedOut,
}

impl<R> Step<R> {
    /// What it is to a caller who set no deadline: then only the transport's own can have passed.
    pub(super) fn without_deadline(self) -> Result<Option<R>, Error> {
        match self {
            Self::Found(found) => Ok(Some(found)),
            Self::Closed => Ok(None),
            Self::TimedOut => Err(Error::Io(io::ErrorKind::TimedOut.into())),
        }
    }
}

/// How far the end of the connection has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    /// Messages flow.
    Not,
    /// What is left is to be written, then our direction ended, then the peer's end awaited; after that the result is told.
    Shutdown,
    Drain,
    /// The result has been told.
    Over,
}

impl<S, O> Driver<S, O> {
    pub(super) fn new(io: S, outbox: O, input: BytesMut, timing: Timing) -> Self {
        Self {
            io,
            outbox,
            write_timeout: Some(WRITE_TIMEOUT),
            input: Input::new(input),
            epoch: clock::now(),
            keepalive: Keepalive::new(Arc::new(timing), Duration::ZERO),
            ending: Ending::Not,
            failure: None,
        }
    }

    /// The same connection with its state elsewhere.
    pub(super) fn map<P>(self, map: impl FnOnce(O) -> P) -> Driver<S, P> {
        Driver {
            io: self.io,
            outbox: map(self.outbox),
            write_timeout: self.write_timeout,
            input: self.input,
            epoch: self.epoch,
            keepalive: self.keepalive,
            ending: self.ending,
            failure: self.failure,
        }
    }

    pub(super) fn set_timing(&mut self, timing: Timing) {
        self.keepalive = Keepalive::new(Arc::new(timing), self.elapsed());
    }

    /// Since the connection was opened.
    fn elapsed(&self) -> Duration {
        clock::now().saturating_duration_since(self.epoch)
    }

    pub(super) fn latency(&self) -> Option<Duration> {
        self.keepalive.latency()
    }

    /// A message went either way.
    pub(super) fn note_message(&mut self) {
        self.keepalive.message(self.elapsed());
    }

    pub(super) fn patience(&self, until: Deadline) -> Patience {
        Patience {
            progress: self.write_timeout,
            until,
        }
    }
}

impl<S: Transport, O: Outbox> Driver<S, O> {
    /// Writes what is queued.
    pub(super) fn flush(&mut self) -> Result<(), Error> {
        let until = self.outbox.with(|out| out.close_by);
        let patience = self.patience(until);
        self.outbox.write(&mut self.io, patience).map_err(Error::Io)
    }

    /// The next message.
    pub(super) fn message(&mut self, until: Deadline) -> Result<Step<Message>, Error> {
        if self.ending == Ending::Not && !self.input.is_empty() {
            let unread = self.input.unread();
            let small = self.outbox.with(|out| out.connection.receive_small(unread, COPIED));
            if let Some((consumed, message)) = small {
                self.input.consume(consumed);
                self.note_message();
                return Ok(Step::Found(message));
            }
        }
        let found = self.next(until, Event::into_message)?;
        if matches!(found, Step::Found(_)) {
            self.note_message();
        }
        Ok(found)
    }

    /// The next event of which `take` makes something. An error that ends the connection is told once.
    pub(super) fn next<R>(
        &mut self,
        until: Deadline,
        mut take: impl FnMut(Event<Bytes>) -> Option<R>,
    ) -> Result<Step<R>, Error> {
        // A peer that has sent what does not count, for longer than it may be idle, is judged all the same.
        let mut looked = false;
        loop {
            if self.ending != Ending::Not {
                return self.finish(until);
            }
            if let Some(event) = self.parse() {
                if let Some(taken) = take(event) {
                    return Ok(Step::Found(taken));
                }
            } else if self.ending == Ending::Not && !self.fill(until, &mut looked)? {
                return Ok(Step::TimedOut);
            }
        }
    }

    /// The next event in the input; without one, it wants more, or the connection has failed.
    fn parse(&mut self) -> Option<Event<Bytes>> {
        let input = &mut self.input;
        let received = self
            .outbox
            .with(|out| input.with_bytes(|input| out.connection.receive_bytes(input, &mut out.output)));
        match received {
            Ok(event) => {
                match &event {
                    Some(Event::Close(_)) => self.end_with(None),
                    Some(Event::Pong(payload)) => {
                        self.keepalive.pong(payload, self.elapsed());
                    }
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

    /// Writes what was queued, and waits for input. False: the caller's deadline came first.
    fn fill(&mut self, until: Deadline, looked: &mut bool) -> Result<bool, Error> {
        loop {
            let now = clock::now();
            let by = match self.due(now) {
                Due::Ping(nonce) => {
                    // It can be too late for a ping, in which case none is needed.
                    let _ = self
                        .outbox
                        .with(|out| out.queue(|connection, output| connection.ping(&nonce, output)));
                    continue;
                }
                Due::TimedOut(timeout) if *looked || timeout == Timeout::Close => {
                    return Err(self.over(Error::Timeout(timeout)));
                }
                // What has come while nobody read counts.
                Due::TimedOut(_) => {
                    *looked = true;
                    Deadline::after(now, LOOK)
                }
                Due::Wait(at) => at.map_or(Deadline::NEVER, |at| Deadline::after(self.epoch, at)),
            };
            if !self.write(by, until)? {
                return Ok(false);
            }
            // What the peer sent before it ceased to read, its Close perhaps, is still delivered.
            let broken = self.outbox.with(|out| out.broken);
            let by = broken.map_or(by, |_| Deadline::after(now, LOOK));
            let error = match self.read(by.earlier(until)) {
                Ok(0) => broken.map_or(Error::ConnectionLost, |kind| Error::Io(kind.into())),
                Ok(_) => {
                    self.keepalive.received(self.elapsed());
                    return Ok(true);
                }
                Err(error) if is_timeout(&error) => match broken {
                    Some(kind) => Error::Io(kind.into()),
                    None if until.passed() => return Ok(false),
                    None if by.passed() => continue,
                    // The transport's own timeout.
                    None => return Err(Error::Io(error)),
                },
                Err(error) => Error::Io(error),
            };
            // The other half may have given up the transport because of that.
            let late = self.outbox.with(|out| out.close_by).passed();
            return Err(self.over(if late { Error::Timeout(Timeout::Close) } else { error }));
        }
    }

    /// What the schedule asks for.
    fn due(&mut self, now: Instant) -> Due {
        let (state, close_by) = self.outbox.with(|out| (out.state(), out.close_by));
        if state == CloseState::Open {
            return self
                .keepalive
                .poll(now.saturating_duration_since(self.epoch), entropy::fill);
        }
        match close_by.passed() {
            true => Due::TimedOut(Timeout::Close),
            false => Due::Wait(close_by.since(self.epoch)),
        }
    }

    /// Writes replies. False: the caller's deadline came first. A transport that is broken shows in the outbox.
    fn write(&mut self, by: Deadline, until: Deadline) -> Result<bool, Error> {
        let patience = self.patience(by.earlier(until));
        // Twice, for a pong that had to wait until there was room.
        for _ in 0..2 {
            let (queued, since) = (self.outbox.with(|out| out.output.len()), clock::now());
            match self.outbox.write(&mut self.io, patience) {
                Ok(()) => self.outbox.with(|out| out.connection.resume_output(&mut out.output)),
                Err(error) if !is_timeout(&error) => break,
                Err(_) if until.passed() => return Ok(false),
                // Whatever is due at the same time: a peer that sends all the while is never too silent.
                Err(error) if self.is_stuck(queued, since) => return Err(Error::Io(error)),
                // The schedule has something to say about it.
                Err(_) if by.passed() => break,
                Err(error) => return Err(Error::Io(error)),
            }
        }
        Ok(true)
    }

    /// Whether nothing of what was queued then has gone out since, for as long as that may take.
    fn is_stuck(&mut self, queued: usize, since: Instant) -> bool {
        let limit = self.write_timeout.map(|limit| Deadline::after(since, limit));
        limit.is_some_and(Deadline::passed) && self.outbox.with(|out| out.output.len()) >= queued
    }

    fn read(&mut self, until: Deadline) -> io::Result<usize> {
        self.io.set_read_timeout(until.timeout(clock::now()))?;
        let missing = self.outbox.with(|out| out.connection.missing());
        // Room is filled with zeroes before it is read into, which costs little for a frame that is to come whole.
        let most = if missing > 0 { usize::MAX } else { SMALL_READ };
        let io = &mut self.io;
        match self
            .input
            .poll_read(missing, |input| Poll::Ready(deadline::read(io, input, most)))
        {
            Poll::Ready(read) => read,
            Poll::Pending => Ok(0),
        }
    }

    fn over(&mut self, error: Error) -> Error {
        self.ending = Ending::Over;
        self.outbox.end();
        error
    }

    fn end_with(&mut self, failure: Option<Error>) {
        self.outbox.with(Outgoing::start_deadline);
        self.failure = failure;
        self.ending = Ending::Shutdown;
    }

    /// The end: write what is left, shut down, and let the peer end its side, all before the deadline.
    fn finish<R>(&mut self, until: Deadline) -> Result<Step<R>, Error> {
        let close_by = self.outbox.with(|out| out.close_by);
        let ended = self.ending == Ending::Over || self.shutdown_and_drain(close_by.earlier(until));
        if !ended && !close_by.passed() {
            return Ok(Step::TimedOut);
        }
        self.ending = Ending::Over;
        self.outbox.end();
        self.failure.take().map_or(Ok(Step::Closed), Err)
    }

    /// Whether the transport is of no more use, before the deadline; errors of it no longer matter.
    fn shutdown_and_drain(&mut self, until: Deadline) -> bool {
        if self.ending == Ending::Shutdown {
            let patience = self.patience(until);
            match self.outbox.write(&mut self.io, patience) {
                Ok(()) => {}
                Err(error) => return !is_timeout(&error),
            }
            // RFC 6455 §5.5.1: "The server MUST close the underlying TCP connection immediately; the client SHOULD wait for
            // the server to close the connection". After a failure both are the one that closes.
            let failed = self.failure.is_some();
            if failed || self.outbox.with(|out| out.connection.role()) == Role::Server {
                if self.io.shutdown().is_err() {
                    return true;
                }
                // What was received and not read would make the system reset the connection, and the Close with it.
                if !failed && self.input.is_empty() {
                    return true;
                }
            }
            self.ending = Ending::Drain;
        }
        while !until.passed() {
            self.input.clear();
            match self.read(until) {
                Ok(0) => return true,
                Ok(_) => {}
                Err(error) => return !is_timeout(&error),
            }
        }
        false
    }
}

/// The longest message that is copied out of the input, in bytes.
const COPIED: usize = 2048;

/// How much is read at a time while no frame is incomplete, in bytes.
const SMALL_READ: usize = 16 * 1024;

/// How long a write may make no progress.
const WRITE_TIMEOUT: Duration = Duration::from_secs(20);

/// How long to look at what is there already.
const LOOK: Duration = Duration::from_millis(5);
