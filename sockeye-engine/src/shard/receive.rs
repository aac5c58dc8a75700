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
    #[inline]
    pub(crate) fn readable(&mut self, key: Key, hung_up: bool) {
        for _ in 0..READS {
            if let Read::Enough = self.read(key, hung_up) {
                return;
            }
        }
        // The others first.
        self.unread.push(key);
    }

    /// Goes on with those that had more to read, each once.
    pub(crate) fn read_on(&mut self) {
        for key in std::mem::take(&mut self.unread) {
            self.readable(key, false);
        }
    }

    /// One read, and all that is whole then.
    ///
    /// Between two system calls the processor has forgotten most of this code: what is rare stands apart.
    #[inline]
    fn read(&mut self, key: Key, hung_up: bool) -> Read {
        let Some(entry) = self.slab.get_mut(key) else {
            return Read::Enough;
        };
        entry.rest.ends |= hung_up;
        if !matches!(entry.phase, Phase::Open(..)) {
            return self.read_unopened(key);
        }
        if entry.rest.paused {
            entry.rest.unread = true;
            return Read::Enough;
        }
        if entry.input.is_some() {
            return self.read_behind(key);
        }
        let (buffer, common) = (&mut self.buffer, &mut self.common);
        let length = match entry.stream.read(buffer) {
            Ok(length) if length > 0 => length,
            nothing => return self.read_nothing(key, nothing),
        };
        entry.rest.heard(common.now);
        common.counts.add(Count::BytesIn, length as u64);
        let drained = length < buffer.len() && entry.stream.is_drained_by_short_read() && !entry.rest.ends;
        let bytes = &mut buffer[..length];
        let consumed = Self::parse(&mut self.handler, common, &mut self.output, entry, bytes);
        if consumed < length {
            Self::keep(common, entry, &buffer[consumed..length]);
        }
        if !common.notices.is_empty() {
            self.settle(key);
        } else if Self::leave_with_output(common, &mut self.output, entry) {
            self.conclude(key);
        }
        if self.common.topics.bytes > MOST_PUBLISHED {
            self.deliver();
        }
        match drained {
            true => Read::Enough,
            false => Read::More,
        }
    }

    /// Reads from a connection whose WebSocket is not open yet, or over.
    #[inline(never)]
    fn read_unopened(&mut self, key: Key) -> Read {
        let Some(entry) = self.slab.get_mut(key) else {
            return Read::Enough;
        };
        let mut buffer = std::mem::take(&mut self.buffer);
        let read = match &entry.phase {
            Phase::Opening(_) => self.read_request(key, &mut buffer),
            Phase::Lingering => self.discard(key, &mut buffer),
            Phase::Open(..) => Read::More,
            Phase::Deciding(_) => {
                // What it says is read when it has been decided on. That it is gone is to be known at once.
                entry.rest.unread = true;
                if entry.rest.ends {
                    self.end(key, Cause::Lost);
                }
                Read::Enough
            }
        };
        self.buffer = buffer;
        read
    }

    /// Reads from a connection of which the start of a frame is there: that goes on in the shared buffer, unless there is
    /// much of it.
    #[inline(never)]
    fn read_behind(&mut self, key: Key) -> Read {
        let Some(entry) = self.slab.get_mut(key) else {
            return Read::Enough;
        };
        let Phase::Open(connection, _) = &mut entry.phase else {
            return Read::Enough;
        };
        let Some(mut input) = entry.input.take() else {
            return Read::More;
        };
        let (buffer, common) = (&mut self.buffer, &mut self.common);
        let kept = input.filled;
        let in_own = kept > SMALL;
        let (read, room) = if in_own {
            input.grow(usize::try_from(connection.missing()).unwrap_or(usize::MAX));
            let room = (input.bytes.len() - kept).min(READ_SIZE);
            (entry.stream.read(&mut input.bytes[kept..kept + room]), room)
        } else {
            (entry.stream.read(&mut buffer[kept..]), buffer.len() - kept)
        };
        let length = match read {
            Ok(length) if length > 0 => length,
            nothing => {
                entry.input = Some(input);
                return self.read_nothing(key, nothing);
            }
        };
        entry.rest.heard(common.now);
        common.counts.add(Count::BytesIn, length as u64);
        let drained = length < room && entry.stream.is_drained_by_short_read() && !entry.rest.ends;
        let filled = kept + length;
        if in_own {
            let bytes = &mut input.bytes[..filled];
            let consumed = Self::parse_apart(&mut self.handler, common, &mut self.output, entry, bytes);
            input.filled = filled;
            Self::keep_input(common, entry, input, consumed);
        } else {
            buffer[..kept].copy_from_slice(&input.bytes[..kept]);
            common.pool.put_input(input);
            let bytes = &mut buffer[..filled];
            let consumed = Self::parse_apart(&mut self.handler, common, &mut self.output, entry, bytes);
            if consumed < filled {
                Self::keep(common, entry, &buffer[consumed..filled]);
            }
        }
        self.settle(key);
        if self.common.topics.bytes > MOST_PUBLISHED {
            self.deliver();
        }
        match drained {
            true => Read::Enough,
            false => Read::More,
        }
    }

    /// A read has brought no bytes.
    #[cold]
    fn read_nothing(&mut self, key: Key, read: io::Result<usize>) -> Read {
        match read {
            Ok(_) => {
                if let Some(entry) = self.slab.get_mut(key) {
                    entry.rest.hung_up = true;
                }
                self.settle(key);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Read::More,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => self.end(key, Cause::Lost),
        }
        Read::Enough
    }

    /// [`parse`](Self::parse), for what is not worth a copy of it.
    #[inline(never)]
    pub(super) fn parse_apart(
        handler: &mut H,
        common: &mut Common,
        output: &mut Vec<u8>,
        entry: &mut Entry<H::Data, S>,
        bytes: &mut [u8],
    ) -> usize {
        Self::parse(handler, common, output, entry, bytes)
    }

    /// Hands all that is whole in `bytes` to the handler; answers how much of it is done with.
    #[inline(always)]
    fn parse(
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
            let told = guard(|| tell_messages(handler, &mut socket, bytes, &mut start)).unwrap_or_else(|()| {
                socket.panicked();
                Ok(())
            });
            if told.is_ok() {
                if socket.rest.paused || socket.rest.terminated {
                    socket.rest.unread = true;
                    return start;
                }
                if start == bytes.len() && socket.connection.is_between_messages() {
                    return start;
                }
            }
            match told.and_then(|()| tell_next(handler, &mut socket, &mut bytes[start..])) {
                Ok((consumed, true)) => start += consumed,
                Ok((consumed, false)) => return start + consumed,
                Err(_) => {
                    socket.rest.extra().cause.get_or_insert(Cause::Violation);
                    return bytes.len();
                }
            }
        }
    }

    /// Keeps what is left of a buffer of the connection's own.
    fn keep_input(common: &mut Common, entry: &mut Entry<H::Data, S>, mut input: Box<Input>, consumed: usize) {
        let left = input.filled - consumed;
        if left == 0 {
            common.pool.put_input(input);
            return;
        }
        if left <= SMALL && consumed > 0 {
            Self::keep(common, entry, &input.bytes[consumed..input.filled]);
            common.pool.put_input(input);
            return;
        }
        input.bytes.copy_within(consumed..input.filled, 0);
        input.filled = left;
        entry.input = Some(input);
    }

    /// Keeps the start of a frame.
    #[inline(never)]
    pub(super) fn keep(common: &mut Common, entry: &mut Entry<H::Data, S>, left: &[u8]) {
        let Phase::Open(connection, _) = &entry.phase else {
            return;
        };
        if connection.state() == CloseState::Closed {
            return;
        }
        let missing = usize::try_from(connection.missing()).unwrap_or(usize::MAX);
        let mut input = common.pool.take_input(left.len(), missing);
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
            let common = &mut self.common;
            let consumed = Self::parse_apart(&mut self.handler, common, &mut self.output, entry, bytes);
            Self::keep_input(common, entry, input, consumed);
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
    while *start < bytes.len() {
        let Some((length, message)) = socket.connection.receive_whole(&mut bytes[*start..], socket.out)? else {
            break;
        };
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
