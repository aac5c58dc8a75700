//! Instants until which something may block, as the timeouts that sockets take.

use std::io;
use std::time::{Duration, Instant};

use bytes::BytesMut;

use super::clock;
use super::transport::Transport;

/// An instant, or never.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Deadline(Option<Instant>);

impl Deadline {
    pub(super) const NEVER: Self = Self(None);

    /// So long after `now`; a time that no clock reaches is never.
    pub(super) fn after(now: Instant, duration: Duration) -> Self {
        Self(now.checked_add(duration))
    }

    pub(super) fn within(duration: Duration) -> Self {
        Self::after(clock::now(), duration)
    }

    /// How long after `epoch` it is.
    pub(super) fn since(self, epoch: Instant) -> Option<Duration> {
        self.0.map(|at| at.saturating_duration_since(epoch))
    }

    pub(super) fn earlier(self, other: Self) -> Self {
        Self(self.0.into_iter().chain(other.0).min())
    }

    /// Whether it is over, or will be before a timeout could be set.
    pub(super) fn passed(self) -> bool {
        self.0.is_some_and(|at| at <= clock::now() + ROUNDING)
    }

    /// What is left from `now`, as a socket takes it: not nothing, and in steps so coarse that the same timeout often serves
    /// again. Whoever uses it asks [`passed`](Self::passed) afterwards.
    pub(super) fn timeout(self, now: Instant) -> Option<Duration> {
        let left = self.0?.saturating_duration_since(now);
        let step = if left > 10 * COARSE { COARSE } else { FINE };
        let steps = left.as_nanos().div_ceil(step.as_nanos()).max(1);
        let steps = u32::try_from(steps).unwrap_or(u32::MAX);
        Some(step.saturating_mul(steps))
    }

    /// What is left now, and if nothing is, an error as a socket's.
    pub(super) fn remaining(self) -> io::Result<Option<Duration>> {
        let now = clock::now();
        if self.0.is_some_and(|at| at <= now) {
            return Err(io::ErrorKind::TimedOut.into());
        }
        Ok(self.timeout(now))
    }

    /// Reads some of a handshake, before the deadline.
    pub(super) fn read(self, io: &mut impl Transport, input: &mut BytesMut) -> io::Result<usize> {
        io.set_read_timeout(self.remaining()?)?;
        input.reserve(HEAD_READ);
        read(io, input, HEAD_READ)
    }

    /// Writes all of `bytes`, before the deadline.
    pub(super) fn write(self, io: &mut impl Transport, mut bytes: &[u8]) -> io::Result<()> {
        loop {
            io.set_write_timeout(self.remaining()?)?;
            let written = match bytes {
                [] => io.flush().map(|()| None),
                bytes => io.write(bytes).map(Some),
            };
            match written {
                Ok(None) => return Ok(()),
                Ok(Some(0)) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(Some(count)) => bytes = &bytes[count..],
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// Whether a transport says that it has waited long enough.
pub(super) fn is_timeout(error: &io::Error) -> bool {
    // Which of the two depends on the system.
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}

/// Reads once, of as much as there is room for in `bytes`, but for no more than `most` bytes.
pub(super) fn read(io: &mut impl Transport, bytes: &mut BytesMut, most: usize) -> io::Result<usize> {
    let length = bytes.len();
    let room = (bytes.capacity() - length).min(most);
    bytes.resize(length + room, 0);
    let read = loop {
        match io.read(&mut bytes[length..]) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            read => break read,
        }
    };
    bytes.truncate(length + *read.as_ref().unwrap_or(&0));
    read
}

/// Systems round timeouts to their ticks, some of them down.
const ROUNDING: Duration = Duration::from_millis(16);

const FINE: Duration = Duration::from_millis(1);
const COARSE: Duration = Duration::from_millis(100);

/// How much of a handshake is read at a time, in bytes.
const HEAD_READ: usize = 4 * 1024;
