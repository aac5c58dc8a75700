//! From streams to callbacks.

use std::io;

use sockeye_proto::close::CloseState;
use sockeye_proto::connection::Event;
use sockeye_proto::error::ProtocolError;
use sockeye_proto::message::Payload;

use super::{Shard, call, guard};
use crate::common::Common;
use crate::entry::{Entry, Phase};
use crate::handler::{Cause, Handler};
use crate::metrics::Count;
use crate::pool::Input;
use crate::slab::Key;
use crate::socket::Socket;
use crate::stream::Stream;

/// What a read came to.
pub(super) enum Read {
    /// There may be more.
    More,
    /// There is no more for now, or no more is wanted.
    Enough,
}

impl<H: Handler, S: Stream> Shard<H, S> {
    /// A connection has something to read; with `hung_up`, its end among it.
    pub(crate) fn readable(&mut self, key: Key, hung_up: bool) {
        let mut buffer = std::mem::take(&mut self.buffer);
        let mut reads = 0;
        while let Some(entry) = self.slab.get_mut(key) {
            entry.rest.ends |= hung_up;
            let read = match &entry.phase {
                Phase::Opening(_) => self.read_request(key, &mut buffer),
                Phase::Open(..) => self.read_frames(key, &mut buffer),
                Phase::Lingering => self.discard(key, &mut buffer),
                Phase::Deciding(_) => {
                    // What it says is read when it has been decided on. That it is gone is to be known at once.
                    entry.rest.unread = true;
                    if entry.rest.ends {
                        self.end(key, Cause::Lost);
                    }
                    Read::Enough
                }
            };
            reads += 1;
            match read {
                Read::Enough => break,
                Read::More if reads < READS => {}
                Read::More => {
                    // The others first.
                    self.unread.push(key);
                    break;
                }
            }
        }
        self.buffer = buffer;
        if self.common.topics.bytes > MOST_PUBLISHED {
            self.deliver();
        }
    }

    /// Goes on with those that had more to read, each once.
    pub(crate) fn read_on(&mut self) {
        for key in std::mem::take(&mut self.unread) {
            self.readable(key, false);
        }
    }

    /// One read, and all that is whole then.
    fn read_frames(&mut self, key: Key, buffer: &mut [u8]) -> Read {
        let Some(entry) = self.slab.get_mut(key) else {
            return Read::Enough;
        };
        let Phase::Open(connection, _) = &mut entry.phase else {
            return Read::Enough;
        };
        if entry.rest.paused {
            entry.rest.unread = true;
            return Read::Enough;
        }
        // The start of a frame goes on in the shared buffer, unless there is much of it.
        let mut own = entry.input.take();
        let kept = own.as_ref().map_or(0, |input| input.filled);
        let in_own = kept > SMALL;
        let (read, room) = match &mut own {
            Some(input) if in_own => {
                input.grow(usize::try_from(connection.missing()).unwrap_or(usize::MAX));
                let room = (input.bytes.len() - kept).min(READ_SIZE);
                (entry.stream.read(&mut input.bytes[kept..kept + room]), room)
            }
            _ => (entry.stream.read(&mut buffer[kept..]), buffer.len() - kept),
        };
        let length = match read {
            Ok(0) => {
                entry.input = own;
                entry.rest.hung_up = true;
                self.settle(key);
                return Read::Enough;
            }
            Ok(length) => length,
            Err(error) => {
                entry.input = own;
                return self.read_failed(key, &error);
            }
        };
        let common = &mut self.common;
        entry.rest.heard(common.now);
        common.counts.add(Count::BytesIn, length as u64);
        let drained = length < room && entry.stream.is_drained_by_short_read() && !entry.rest.ends;
        let filled = kept + length;
        match own {
            Some(mut input) if in_own => {
                let bytes = &mut input.bytes[..filled];
                let consumed = Self::parse(&mut self.handler, common, &mut self.output, entry, bytes);
                input.filled = filled;
                self.keep_input(key, input, consumed);
            }
            own => {
                if let Some(input) = own {
                    buffer[..kept].copy_from_slice(&input.bytes[..kept]);
                    common.pool.put_input(input);
                }
                let bytes = &mut buffer[..filled];
                let consumed = Self::parse(&mut self.handler, common, &mut self.output, entry, bytes);
                if consumed < filled {
                    self.keep(key, &buffer[consumed..filled]);
                }
            }
        }
        self.settle(key);
        match drained {
            true => Read::Enough,
            false => Read::More,
        }
    }

    #[cold]
    fn read_failed(&mut self, key: Key, error: &io::Error) -> Read {
        match error.kind() {
            io::ErrorKind::Interrupted => Read::More,
            io::ErrorKind::WouldBlock => Read::Enough,
            _ => {
                self.end(key, Cause::Lost);
                Read::Enough
            }
        }
    }

    /// Hands all that is whole in `bytes` to the handler; answers how much of it is done with.
    pub(super) fn parse(
        handler: &mut H,
        common: &mut Common,
        output: &mut Vec<u8>,
        entry: &mut Entry<H::Data, S>,
        bytes: &mut [u8],
    ) -> usize {
        let Entry {
            stream,
            phase: Phase::Open(connection, data),
            queue,
            rest,
            ..
        } = entry
        else {
            return bytes.len();
        };
        let mut socket = Socket {
            data,
            connection,
            out: queue.as_deref_mut().unwrap_or(output),
            rest,
            stream,
            common,
        };
        let mut start = 0;
        loop {
            // Whatever panics, `start` is behind its message.
            let messages = guard(|| tell_messages(handler, &mut socket, bytes, &mut start));
            let read_on = match messages {
                Ok(Ok(())) => true,
                Ok(Err(_)) => false,
                Err(()) => {
                    socket.panicked();
                    continue;
                }
            };
            if socket.rest.paused || socket.rest.terminated {
                socket.rest.unread = true;
                return start;
            }
            if start == bytes.len() && socket.connection.is_between_messages() {
                return start;
            }
            let rest = &mut bytes[start..];
            match read_on.then(|| tell_next(handler, &mut socket, rest)) {
                Some(Ok((consumed, told))) => {
                    start += consumed;
                    if !told {
                        return start;
                    }
                }
                Some(Err(_)) | None => {
                    socket.rest.extra().cause.get_or_insert(Cause::Violation);
                    return bytes.len();
                }
            }
        }
    }

    /// Keeps what is left of a buffer of the connection's own.
    fn keep_input(&mut self, key: Key, mut input: Box<Input>, consumed: usize) {
        let left = input.filled - consumed;
        if left == 0 || self.slab.get(key).is_none() {
            self.common.pool.put_input(input);
            return;
        }
        if left <= SMALL && consumed > 0 {
            self.keep(key, &input.bytes[consumed..input.filled]);
            self.common.pool.put_input(input);
            return;
        }
        input.bytes.copy_within(consumed..input.filled, 0);
        input.filled = left;
        if let Some(entry) = self.slab.get_mut(key) {
            entry.input = Some(input);
        }
    }

    /// Keeps the start of a frame.
    pub(super) fn keep(&mut self, key: Key, left: &[u8]) {
        let Some(entry) = self.slab.get_mut(key) else { return };
        let Phase::Open(connection, _) = &entry.phase else {
            return;
        };
        if connection.state() == CloseState::Closed {
            return;
        }
        let missing = usize::try_from(connection.missing()).unwrap_or(usize::MAX);
        let mut input = self.common.pool.take_input(left.len(), missing);
        input.bytes[..left.len()].copy_from_slice(left);
        input.filled = left.len();
        entry.input = Some(input);
    }

    /// Takes up what was left when the application paused, and reads on.
    pub(super) fn resume(&mut self, key: Key) {
        let Some(entry) = self.slab.get_mut(key) else { return };
        if !std::mem::take(&mut entry.rest.paused) {
            return;
        }
        // Pings begin anew: what came meanwhile has not been seen.
        entry.rest.heard(self.common.now);
        if let Some(mut input) = entry.input.take() {
            let bytes = &mut input.bytes[..input.filled];
            let consumed = Self::parse(&mut self.handler, &mut self.common, &mut self.output, entry, bytes);
            self.keep_input(key, input, consumed);
            self.settle(key);
        }
        if let Some(entry) = self.slab.get_mut(key)
            && entry.rest.unread
            && !entry.rest.paused
        {
            entry.rest.unread = false;
            self.unread.push(key);
        }
    }

    /// RFC 6455 §1.4: "after receiving a control frame indicating the connection should be closed, a peer discards any
    /// further data received."
    fn discard(&mut self, key: Key, buffer: &mut [u8]) -> Read {
        let Some(entry) = self.slab.get_mut(key) else {
            return Read::Enough;
        };
        match entry.stream.read(buffer) {
            Ok(length) if length > 0 => return Read::More,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Read::Enough,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Read::More,
            Ok(_) => entry.rest.hung_up = true,
            Err(_) => entry.rest.terminated = true,
        }
        self.settle(key);
        Read::Enough
    }
}

/// Tells the handler of the messages that stand whole in `bytes`, one behind the other, from `start` on. What follows them is
/// something else, or incomplete.
#[inline]
fn tell_messages<H: Handler>(
    handler: &mut H,
    socket: &mut Socket<'_, H::Data>,
    bytes: &mut [u8],
    start: &mut usize,
) -> Result<(), ProtocolError> {
    while let Some((length, message)) = socket.connection.receive_whole(&mut bytes[*start..], socket.out)? {
        *start += length;
        socket.common.counts.add(Count::MessagesIn, 1);
        socket.rest.message = socket.common.now;
        handler.message(socket, message);
        if socket.rest.paused || socket.rest.terminated {
            break;
        }
    }
    Ok(())
}

/// Tells the handler of the next event; answers how many bytes are done with, and whether there was an event.
#[inline(never)]
fn tell_next<H: Handler>(
    handler: &mut H,
    socket: &mut Socket<'_, H::Data>,
    bytes: &mut [u8],
) -> Result<(usize, bool), ProtocolError> {
    let Socket {
        data,
        connection,
        out,
        rest,
        stream,
        common,
    } = socket;
    let received = connection.receive_with(bytes, out, |connection, event, out| {
        let mut socket = Socket {
            data: &mut **data,
            connection,
            out,
            rest,
            stream: &mut **stream,
            common,
        };
        tell(handler, &mut socket, &event);
    });
    received.map(|(consumed, event)| (consumed, event.is_some()))
}

/// Tells the handler of an event.
fn tell<H: Handler>(handler: &mut H, socket: &mut Socket<'_, H::Data>, event: &Event<&[u8]>) {
    let message = match event {
        Event::Text(text) => Payload::Text(text),
        Event::Binary(bytes) => Payload::Binary(bytes),
        Event::Ping(payload) => return call(socket, |socket| handler.ping(socket, payload)),
        Event::Pong(payload) => return call(socket, |socket| handler.pong(socket, payload)),
        Event::Close(Some(frame)) => return socket.rest.close_came(&frame.reason),
        // Messages are handed over whole.
        _ => return,
    };
    socket.common.counts.add(Count::MessagesIn, 1);
    socket.rest.message = socket.common.now;
    call(socket, |socket| handler.message(socket, message));
}

/// How often a connection reads in one turn before the others have theirs.
const READS: usize = 8;

/// The most that is read at once into a buffer of the connection's own, in bytes: so that it is unmasked and checked while
/// it is in the cache.
const READ_SIZE: usize = 256 * 1024;

/// So much of the start of a frame is moved to the shared buffer, in bytes, rather than read behind.
const SMALL: usize = 16 * 1024;

/// Published payload that does not wait for the end of the turn, in bytes.
const MOST_PUBLISHED: usize = 1 << 20;
