//! One connection in its closed loop: send a batch, compare what comes back, send again. Pings are answered.

use std::io::{self, Write as _};
use std::time::Instant;

use anyhow::{Result, bail, ensure};

use crate::deflate;
use crate::frames::{Batch, FIN, PING, PONG, first_frame, frame};
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
    /// A ping of which the end has not come.
    ping: Vec<u8>,
    /// Answers to pings that the kernel did not take yet.
    pongs: Vec<u8>,
    /// When the batch was sent.
    since: Instant,
}

impl Default for Progress {
    fn default() -> Self {
        Self {
            sent: 0,
            matched: 0,
            unknown: Vec::new(),
            ping: Vec::new(),
            pongs: Vec::new(),
            since: Instant::now(),
        }
    }
}

impl Connection {
    pub(crate) fn new(transport: Transport) -> Self {
        Self {
            transport,
            progress: Progress::default(),
        }
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
        // Not inside a batch, of which a frame may have left in part.
        if self.progress.sent == 0 {
            self.answer_pings()?;
        }
        while self.progress.pongs.is_empty() && self.progress.sent < batch.sent.len() {
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
        let since = progress.since;
        if self.progress.sent == 0 || self.progress.sent == batch.sent.len() {
            self.answer_pings()?;
        }
        Ok(complete.then_some(since))
    }

    fn answer_pings(&mut self) -> Result<()> {
        while !self.progress.pongs.is_empty() {
            match self.transport.write(&self.progress.pongs) {
                Ok(length) => drop(self.progress.pongs.drain(..length)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}

impl Progress {
    /// Whether `bytes` complete the answer.
    fn take(&mut self, batch: &mut Batch, bytes: &[u8]) -> Result<bool> {
        let end = self.matched + bytes.len();
        if !self.unknown.is_empty() {
            return self.take_unknown(batch, bytes);
        }
        if self.ping.is_empty() && batch.expected.get(self.matched..end) == Some(bytes) {
            self.matched = if end == batch.expected.len() { 0 } else { end };
            return Ok(self.matched == 0);
        }
        self.take_with_pings(batch, bytes)
    }

    /// The same where what came is not just what was expected.
    fn take_with_pings(&mut self, batch: &mut Batch, bytes: &[u8]) -> Result<bool> {
        let mut bytes = [std::mem::take(&mut self.ping).as_slice(), bytes].concat();
        let mut complete = false;
        loop {
            let pairs = batch.expected[self.matched..].iter().zip(&bytes);
            let same = if complete {
                0
            } else {
                pairs.take_while(|(one, other)| one == other).count()
            };
            self.matched += same;
            bytes.drain(..same);
            if same > 0 && self.matched == batch.expected.len() {
                self.matched = 0;
                complete = true;
            }
            match bytes.first() {
                None => return Ok(complete),
                Some(first) if *first == FIN | PING && batch.is_between_frames(self.matched) => {}
                Some(_) => break,
            }
            let Some((_, payload, length)) = first_frame(&bytes) else {
                self.ping = bytes;
                return Ok(complete);
            };
            frame(&mut self.pongs, FIN | PONG, payload, Some([0x37, 0xfa, 0x21, 0x3d]));
            bytes.drain(..length);
        }
        ensure!(!complete, "{} bytes more than were asked for", bytes.len());
        if batch.sent[0] & crate::frames::RSV1 == 0 {
            bail!("{} bytes after {} of an answer are wrong", bytes.len(), self.matched);
        }
        self.unknown.extend_from_slice(&batch.expected[..self.matched]);
        self.take_unknown(batch, &bytes)
    }

    fn take_unknown(&mut self, batch: &mut Batch, bytes: &[u8]) -> Result<bool> {
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

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::Args;

    #[test]
    fn pings_between_messages_are_answered_wherever_they_are_cut() {
        let args = Args::parse_from(["load", "--address", "127.0.0.1:1", "--depth", "2"]);
        let mut batch = Batch::new(&args);
        let half = batch.expected.len() / 2;
        let ping = b"\x89\x02hi";
        let (first, second) = batch.expected.split_at(half);
        let answer = [first, ping, second, ping].concat();
        for cut in 1..answer.len() {
            let mut progress = Progress::default();
            let mut completed = 0;
            for part in [&answer[..cut], &answer[cut..]] {
                completed += usize::from(progress.take(&mut batch, part).unwrap());
            }
            assert_eq!((completed, progress.matched, progress.ping.len()), (1, 0, 0), "{cut}");
            assert_eq!(progress.pongs.len(), 2 * (6 + 2));
        }
    }

    #[test]
    fn what_was_not_asked_for_is_an_error() {
        let args = Args::parse_from(["load", "--address", "127.0.0.1:1"]);
        let mut batch = Batch::new(&args);
        let ping = b"\x89\0";
        let answer = batch.expected.clone();
        let inside = [&answer[..5], ping, &answer[5..]].concat();
        let twice = [&answer[..], ping, &answer].concat();
        for bytes in [inside, twice] {
            assert!(Progress::default().take(&mut batch, &bytes).is_err());
        }
    }
}
