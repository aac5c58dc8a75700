//! What goes out, and the state of the connection that decides what may: in one hand, or shared by two threads.

use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sockeye_proto::close::{CloseCode, CloseState};
use sockeye_proto::connection::Connection;
use sockeye_proto::error::SendError;

use super::clock;
use super::deadline::Deadline;
use super::transport::Transport;
use crate::error::Error;

/// The protocol's state, and encoded frames that the transport has not taken.
#[derive(Debug)]
pub(super) struct Outgoing {
    pub(super) connection: Connection,
    pub(super) output: Vec<u8>,
    /// Whether the transport holds back something of what it has taken.
    unflushed: bool,
    /// Why the transport takes nothing any more.
    pub(super) broken: Option<io::ErrorKind>,
    /// When the closing handshake has to be done; set when it begins.
    pub(super) close_by: Deadline,
    close_within: Duration,
    /// Whether the connection has ended, whatever its state.
    pub(super) over: bool,
}

impl Outgoing {
    pub(super) fn new(connection: Connection, close_within: Duration) -> Self {
        Self {
            connection,
            output: Vec::new(),
            unflushed: false,
            broken: None,
            close_by: Deadline::NEVER,
            close_within,
            over: false,
        }
    }

    pub(super) fn state(&self) -> CloseState {
        if self.over {
            return CloseState::Closed;
        }
        self.connection.state()
    }

    /// Encodes something into the output, all of it or nothing.
    pub(super) fn queue(
        &mut self,
        encode: impl FnOnce(&mut Connection, &mut Vec<u8>) -> Result<(), SendError>,
    ) -> Result<(), Error> {
        if self.over {
            return Err(SendError::Closed.into());
        }
        if let Some(kind) = self.broken {
            return Err(Error::Io(kind.into()));
        }
        Ok(encode(&mut self.connection, &mut self.output)?)
    }

    /// Queues a Close, unless one has been queued.
    pub(super) fn begin_close(&mut self, code: CloseCode, reason: &str) -> Result<(), Error> {
        if self.state() != CloseState::Open {
            return Ok(());
        }
        match self.queue(|connection, output| connection.close(code, reason, output)) {
            // Whoever then waits for the end is told of a broken transport by that.
            Err(Error::Io(_)) => {}
            queued => queued?,
        }
        self.start_deadline();
        Ok(())
    }

    /// From now on the peer has so long to finish.
    pub(super) fn start_deadline(&mut self) {
        if self.close_by == Deadline::NEVER {
            self.close_by = Deadline::within(self.close_within);
        }
    }

    /// Whether the transport still takes anything; replies to what it brings still come to be, and go nowhere.
    fn check(&mut self) -> io::Result<()> {
        self.broken.map_or(Ok(()), |kind| {
            self.output = Vec::new();
            Err(kind.into())
        })
    }

    /// Forgets what cannot be sent any more. A timeout is none of that.
    fn note(&mut self, written: &io::Result<()>) {
        if let Err(error) = written
            && !super::deadline::is_timeout(error)
        {
            self.broken = Some(error.kind());
            self.output = Vec::new();
            self.unflushed = false;
        }
    }
}

/// How long a write may take.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    /// In which the transport has to take something.
    pub(super) progress: Option<Duration>,
    /// By when all of it has to be over.
    pub(super) until: Deadline,
}

/// Where a driver finds what is [`Outgoing`].
pub(super) trait Outbox {
    fn with<R>(&mut self, work: impl FnOnce(&mut Outgoing) -> R) -> R;

    /// Writes what is there to `io`, or leaves that to whoever is about it. What is left after an error is kept.
    fn write(&mut self, io: &mut impl Transport, patience: Patience) -> io::Result<()>;

    /// Notes that the connection has ended.
    fn end(&mut self);
}

impl Outbox for Outgoing {
    #[inline]
    fn with<R>(&mut self, work: impl FnOnce(&mut Outgoing) -> R) -> R {
        work(self)
    }

    fn write(&mut self, io: &mut impl Transport, patience: Patience) -> io::Result<()> {
        self.check()?;
        if self.output.is_empty() && !self.unflushed {
            return Ok(());
        }
        self.unflushed = true;
        let mut batch = std::mem::take(&mut self.output);
        let written = write_all(io, &mut batch, patience);
        self.output = batch;
        self.unflushed = written.is_err();
        self.note(&written);
        written
    }

    fn end(&mut self) {
        self.over = true;
    }
}

/// Writes `batch` and flushes; cuts off what was written.
fn write_all(io: &mut impl Transport, batch: &mut Vec<u8>, patience: Patience) -> io::Result<()> {
    let mut start = 0;
    let written = loop {
        let now = clock::now();
        let progress = patience
            .progress
            .map_or(Deadline::NEVER, |progress| Deadline::after(now, progress));
        io.set_write_timeout(progress.earlier(patience.until).timeout(now))?;
        let written = match &batch[start..] {
            [] => io.flush().map(|()| None),
            rest => io.write(rest).map(Some),
        };
        match written {
            Ok(None) => break Ok(()),
            Ok(Some(0)) => break Err(io::ErrorKind::WriteZero.into()),
            Ok(Some(count)) => start += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => break Err(error),
        }
    };
    batch.drain(..start);
    batch.shrink_to(RETAINED);
    written
}

/// [`Outgoing`] for the threads of a connection that was split.
///
/// One of them writes at a time, outside the lock, and takes along what others queue meanwhile: a thread that reads never
/// waits for one that writes.
#[derive(Debug)]
pub(super) struct Shared {
    state: Mutex<State>,
    /// The writing thread has written something or stopped, or the connection has ended.
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    outgoing: Outgoing,
    writing: bool,
    /// Bytes of output that have gone out since the connection was split.
    sent: u64,
    /// Bytes of the batch that the writing thread has in hand.
    in_hand: usize,
    /// Threads that wait for a change.
    waiting: usize,
}

impl State {
    /// Where the output ends, in bytes since the connection was split.
    fn end(&self) -> u64 {
        self.sent + (self.in_hand + self.outgoing.output.len()) as u64
    }
}

impl Shared {
    pub(super) fn new(outgoing: Outgoing) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new(State {
                outgoing,
                writing: false,
                sent: 0,
                in_hand: 0,
                waiting: 0,
            }),
            changed: Condvar::new(),
        })
    }

    /// A panic of another thread left the state as it was: nothing here panics half-way.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a change, or for so long, or for no reason.
    fn wait<'a>(&self, mut state: MutexGuard<'a, State>, left: Option<Duration>) -> MutexGuard<'a, State> {
        state.waiting += 1;
        // Of one thread by itself nobody would change anything: the time passes.
        #[cfg(test)]
        let left = left.inspect(|left| clock::advance(*left)).map(|_| Duration::ZERO);
        let waited = self.changed.wait_timeout(state, left.unwrap_or(A_WHILE));
        let mut state = waited.unwrap_or_else(PoisonError::into_inner).0;
        state.waiting -= 1;
        state
    }

    pub(super) fn look<R>(&self, look: impl FnOnce(&mut Outgoing) -> R) -> R {
        look(&mut self.lock().outgoing)
    }

    /// Queues something, and waits until it has gone out, by this thread's or another's writing.
    pub(super) fn send(
        &self,
        io: &Mutex<impl Transport>,
        progress: Option<Duration>,
        encode: impl FnOnce(&mut Outgoing) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let mut state = self.lock();
        encode(&mut state.outgoing)?;
        let end = state.end();
        loop {
            // What the reading thread has queued meanwhile nobody waits for: it is taken along.
            let left_behind = !state.outgoing.output.is_empty() && !state.writing && state.waiting == 0;
            if state.sent >= end && !left_behind {
                return Ok(());
            }
            if let Some(kind) = state.outgoing.broken {
                return Err(Error::Io(kind.into()));
            }
            let until = state.outgoing.close_by;
            if state.writing {
                let left = until.remaining()?;
                state = self.wait(state, left);
                continue;
            }
            // Nobody else has it locked who is not writing.
            let mut io = io.lock().unwrap_or_else(PoisonError::into_inner);
            let written;
            (state, written) = self.write_batch(state, &mut *io, Patience { progress, until });
            written?;
        }
    }

    /// Waits until the connection has ended or the deadline has passed; answers whether it has ended.
    pub(super) fn wait_for_end(&self) -> bool {
        let mut state = self.lock();
        loop {
            if state.outgoing.over {
                return true;
            }
            match state.outgoing.close_by.remaining() {
                Ok(left) => state = self.wait(state, left),
                Err(_) => return false,
            }
        }
    }

    /// Writes what is queued now, unlocked meanwhile. Nobody else may be writing.
    fn write_batch<'a>(
        &'a self,
        mut state: MutexGuard<'a, State>,
        io: &mut impl Transport,
        patience: Patience,
    ) -> (MutexGuard<'a, State>, io::Result<()>) {
        let mut batch = std::mem::take(&mut state.outgoing.output);
        state.writing = true;
        state.in_hand = batch.len();
        drop(state);
        let written = write_all(io, &mut batch, patience);
        let mut state = self.lock();
        state.sent += (state.in_hand - batch.len()) as u64;
        state.in_hand = 0;
        state.writing = false;
        // What was queued meanwhile stands behind what is left.
        batch.append(&mut state.outgoing.output);
        state.outgoing.output = batch;
        state.outgoing.note(&written);
        self.changed.notify_all();
        (state, written)
    }
}

impl Outbox for Arc<Shared> {
    #[inline]
    fn with<R>(&mut self, work: impl FnOnce(&mut Outgoing) -> R) -> R {
        self.look(work)
    }

    fn write(&mut self, io: &mut impl Transport, patience: Patience) -> io::Result<()> {
        let mut state = self.lock();
        state.outgoing.check()?;
        if state.writing || state.outgoing.output.is_empty() {
            return Ok(());
        }
        self.write_batch(state, io, patience).1
    }

    fn end(&mut self) {
        self.lock().outgoing.over = true;
        self.changed.notify_all();
    }
}

/// Capacity for output that is kept, in bytes.
const RETAINED: usize = 64 * 1024;

/// How long to wait before the deadline is looked at again, if there is none yet.
const A_WHILE: Duration = Duration::from_secs(1);
