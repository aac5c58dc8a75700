//! One connection in its closed loop: send a batch, compare what comes back, send again.

use std::io::{self, Write as _};
use std::time::Instant;

use anyhow::{Result, bail, ensure};

use crate::deflate;
use crate::frames::Batch;
use crate::transport::Transport;

/// A connection and how far it is with its batch.
pub(crate) struct Connection {
    transport: Transport,
    progress: Progress,
}

struct Progress {
    /// How much of the batch the kernel (over TLS, the session) took.
    sent: usize,
    /// How much of the answer came, and was as expected.
    matched: usize,
    /// Under compression, an answer that is not the bytes that are known: checked by inflating, once it is whole.
    unknown: Vec<u8>,
    /// When the batch was sent.
    since: Instant,
}

impl Connection {
    pub(crate) fn new(transport: Transport) -> Self {
        let progress = Progress {
            sent: 0,
            matched: 0,
            unknown: Vec::new(),
            since: Instant::now(),
        };
        Self { transport, progress }
    }

    /// Sends a new batch.
    pub(crate) fn start(&mut self, batch: &Batch, now: Instant) -> Result<()> {
        self.progress.sent = 0;
        self.progress.since = now;
        self.write(batch)
    }

    /// Sends what the kernel did not take yet.
    pub(crate) fn write(&mut self, batch: &Batch) -> Result<()> {
        if self.transport.wants_write() {
            self.transport.flush()?;
        }
        while self.progress.sent < batch.sent.len() {
            match self.transport.write(&batch.sent[self.progress.sent..]) {
                Ok(length) => self.progress.sent += length,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Takes what came and compares it; since when the batch was under way, if its answer is complete.
    pub(crate) fn read(&mut self, batch: &mut Batch, buffers: &mut Buffers) -> Result<Option<Instant>> {
        let progress = &mut self.progress;
        let mut complete = false;
        self.transport
            .read_all(&mut buffers.wire, &mut buffers.plain, |bytes| {
                ensure!(!complete, "{} bytes more than were asked for", bytes.len());
                complete = progress.take(batch, bytes)?;
                Ok(())
            })?;
        Ok(complete.then_some(progress.since))
    }
}

impl Progress {
    /// Whether `bytes` complete the answer.
    fn take(&mut self, batch: &mut Batch, bytes: &[u8]) -> Result<bool> {
        let end = self.matched + bytes.len();
        if self.unknown.is_empty() {
            if batch.expected.get(self.matched..end) == Some(bytes) {
                self.matched = if end == batch.expected.len() { 0 } else { end };
                return Ok(self.matched == 0);
            }
            if batch.sent[0] & crate::frames::RSV1 == 0 {
                bail!("{} bytes after {} of an answer are wrong", bytes.len(), self.matched);
            }
            self.unknown.extend_from_slice(&batch.expected[..self.matched]);
        }
        self.unknown.extend_from_slice(bytes);
        if !deflate::check(batch, &self.unknown)? {
            return Ok(false);
        }
        // Without context takeover the same message gives the same bytes the next time, most likely.
        batch.expected.clone_from(&self.unknown);
        self.unknown.clear();
        self.matched = 0;
        Ok(true)
    }
}

/// Room for what is read, shared by all connections.
pub(crate) struct Buffers {
    wire: Vec<u8>,
    plain: Vec<u8>,
}

impl Buffers {
    pub(crate) fn new() -> Self {
        Self {
            wire: vec![0; 256 * 1024],
            plain: vec![0; 64 * 1024],
        }
    }
}
