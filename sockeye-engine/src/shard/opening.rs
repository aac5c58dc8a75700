//! From a stream to an open connection, or to whoever answers other requests.

use std::io;
use std::marker::PhantomData;
use std::sync::atomic::Ordering;

use sockeye_proto::connection::{Connection, Receive, Role};
use sockeye_proto::handshake::http1::{Parsed, RequestReader};
use sockeye_proto::handshake::server::{Accepted, Request};
use sockeye_proto::handshake::{Rejection, RejectionCause};

use super::receive::Read;
use super::{Shard, guard};
use crate::entry::{Deciding, Entry, Opening, Phase, Rest};
use crate::handler::{Cause, Decision, Handler};
use crate::metrics::Count;
use crate::slab::Key;
use crate::stream::Stream;
use crate::upgrade::{Answer, Upgrade};

impl<H: Handler, S: Stream> Shard<H, S> {
    /// The key that the next connection gets.
    pub(crate) fn vacant(&mut self) -> Option<Key> {
        self.slab.vacant()
    }

    /// Takes a connection on. If there may be no more, its request is read all the same: who is answered while it still
    /// speaks may not get to read the answer.
    pub(crate) fn adopt(&mut self, stream: S) {
        if self.leaving.is_some() {
            return;
        }
        let Some(key) = self.slab.vacant() else { return };
        let mut rest = Rest::new(key, self.common.now);
        let limit = self.common.options.max_connections;
        let connections = &self.common.shared.connections;
        if connections.fetch_add(1, Ordering::Relaxed) >= limit {
            connections.fetch_sub(1, Ordering::Relaxed);
            rest.surplus = true;
        }
        let deadline = self.common.now.saturating_add(self.common.options.times.handshake);
        Self::look_at(&mut self.wheel, &mut rest, deadline);
        let opening = Opening {
            reader: RequestReader::new(self.common.options.server.handshake_limits()),
            received: Vec::new(),
        };
        self.slab.insert(Entry {
            stream,
            phase: Phase::Opening(Box::new(opening)),
            input: None,
            queue: None,
            rest,
        });
        self.opening += 1;
    }

    /// Reads some of a request, and answers it when it is whole.
    pub(super) fn read_request(&mut self, key: Key, buffer: &mut [u8]) -> Read {
        let Some(Entry {
            stream,
            phase: Phase::Opening(opening),
            rest,
            ..
        }) = self.slab.get_mut(key)
        else {
            return Read::Enough;
        };
        let read = stream.read(buffer);
        // HTTP/2 is agreed on in the TLS handshake, before there is a byte of it.
        let http2 = stream.alpn() == Some(b"h2");
        match read {
            Ok(0) => {
                self.end(key, Cause::Lost);
                return Read::Enough;
            }
            Ok(length) => opening.received.extend_from_slice(&buffer[..length]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Read::More,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                if http2 {
                    self.hand_over(key);
                }
                return Read::Enough;
            }
            Err(_) => {
                self.end(key, Cause::Lost);
                return Read::Enough;
            }
        }
        rest.heard(self.common.now);
        if http2 {
            self.hand_over(key);
            return Read::Enough;
        }
        match opening.reader.read(&opening.received) {
            Ok(Parsed::Partial) => {}
            Ok(Parsed::Complete { head, consumed }) => {
                let head = head.with_secure(stream.is_secure());
                let early = opening.received.split_off(consumed);
                self.answer(key, &head, early);
            }
            Err(error) => self.reject(key, &error.into()),
        }
        Read::More
    }

    fn answer(&mut self, key: Key, request: &Request, early: Vec<u8>) {
        if self.slab.get(key).is_some_and(|entry| entry.rest.surplus) {
            self.reject(key, &unavailable("the server has as many connections as it takes\n"));
            return;
        }
        let mut accepted = match self.common.options.server.negotiate(request) {
            Ok(accepted) => accepted,
            Err(rejection) if self.hand_over.is_some() && is_no_handshake(request, &rejection) => {
                // All of it, as it came.
                if let Some(entry) = self.slab.get_mut(key)
                    && let Phase::Opening(opening) = &mut entry.phase
                {
                    opening.received.extend_from_slice(&early);
                }
                self.hand_over(key);
                return;
            }
            // RFC 9110 §9.3.2: "the server MUST NOT send content in the response" to HEAD.
            Err(rejection) if request.method() == "HEAD" => {
                rejection.write_http1(&mut self.output);
                self.output.truncate(self.output.len() - rejection.body().len());
                self.rejected(key);
                return;
            }
            Err(rejection) => {
                self.reject(key, &rejection);
                return;
            }
        };
        let Some(entry) = self.slab.get_mut(key) else { return };
        let mut upgrade = Upgrade {
            request,
            accepted: &mut accepted,
            stream: &entry.stream,
            mailbox: &self.common.mailbox,
            key,
            gone: None,
            data: PhantomData,
        };
        let handler = &mut self.handler;
        let decision = guard(|| handler.upgrade(&mut upgrade));
        let gone = upgrade.gone.take();
        match (decision, gone) {
            (Ok(Decision::Accept(data)), _) => self.open(key, &accepted, data, early),
            (Ok(Decision::Reject(rejection)), _) => self.reject(key, &rejection),
            (Ok(Decision::Later), Some(gone)) => {
                entry.phase = Phase::Deciding(Box::new(Deciding { early, _gone: gone }));
            }
            (Ok(Decision::Later) | Err(()), _) => self.reject(key, &Rejection::new(500)),
        }
    }

    /// What was decided about a request some time ago.
    pub(super) fn decide(&mut self, key: Key, answer: Answer<H::Data>) {
        let Some(entry) = self.slab.get_mut(key) else { return };
        let Phase::Deciding(deciding) = &mut entry.phase else {
            return;
        };
        let early = std::mem::take(&mut deciding.early);
        match answer {
            Ok((accepted, data)) => self.open(key, &accepted, data, early),
            Err(rejection) => self.reject(key, &rejection),
        }
        if let Some(entry) = self.slab.get_mut(key)
            && entry.rest.unread
        {
            entry.rest.unread = false;
            self.unread.push(key);
        }
    }

    /// The WebSocket is open. `early` came after the request, without waiting for the answer.
    fn open(&mut self, key: Key, accepted: &Accepted, data: H::Data, mut early: Vec<u8>) {
        let Some(entry) = self.slab.get_mut(key) else { return };
        accepted.write_http1(&mut self.output);
        let mut connection = Connection::new(Role::Server, self.common.options.server.config().clone());
        // Chunks are for those who can wait for the rest.
        connection.set_receive(Receive::Messages);
        #[cfg(feature = "deflate")]
        let connection = connection.with_deflate(accepted.deflate());
        entry.phase = Phase::Open(connection, data);
        let rest = &mut entry.rest;
        if let Some(subprotocol) = accepted.subprotocol() {
            rest.extra().subprotocol = Some(subprotocol.into());
        }
        let (now, times) = (self.common.now, self.common.options.times);
        (rest.heard, rest.message) = (now, now);
        if let Some(lifetime) = times.lifetime {
            // So that those who came together do not all come back together.
            let jitter = rand::random_range(0..=times.lifetime_jitter.min(lifetime));
            rest.expires = now.saturating_add(lifetime - jitter);
        }
        let at = self.next_look(key);
        if let Some(entry) = self.slab.get_mut(key) {
            // The handshake's deadline is over.
            entry.rest.due = at;
            self.wheel.insert(key, at);
        }
        self.opening -= 1;
        self.common.counts.add(Count::Accepted, 1);
        self.common.counts.add(Count::Open, 1);
        self.with_socket(key, H::open);
        if !early.is_empty()
            && let Some(entry) = self.slab.get_mut(key)
        {
            let common = &mut self.common;
            let consumed = Self::parse_apart(&mut self.handler, common, &mut self.output, entry, &mut early);
            if consumed < early.len() {
                Self::keep(common, entry, &early[consumed..]);
            }
        }
        self.settle(key);
    }

    /// Answers with a refusal and ends the connection.
    fn reject(&mut self, key: Key, rejection: &Rejection) {
        rejection.write_http1(&mut self.output);
        self.rejected(key);
    }

    /// A refusal is in the output.
    fn rejected(&mut self, key: Key) {
        let Some(entry) = self.slab.get_mut(key) else {
            self.output.clear();
            return;
        };
        entry.phase = Phase::Lingering;
        if !entry.rest.surplus {
            self.opening -= 1;
        }
        self.common.counts.add(Count::Rejected, 1);
        let at = self.common.now.saturating_add(self.common.options.times.close);
        entry.rest.close_by = at;
        Self::look_at(&mut self.wheel, &mut entry.rest, at);
        self.settle(key);
    }

    /// Gives the stream, with all that was read from it, to whoever speaks more than WebSocket.
    fn hand_over(&mut self, key: Key) {
        if self.hand_over.is_none() {
            self.reject(key, &RejectionCause::NotUpgrade.into());
            return;
        }
        let Some(entry) = self.slab.remove(key) else { return };
        self.opening -= 1;
        self.common.counts.add(Count::HandedOver, 1);
        self.common.give_back(&entry.rest);
        if let (Some(hand_over), Phase::Opening(opening)) = (&mut self.hand_over, entry.phase) {
            hand_over(entry.stream, opening.received);
        }
    }
}

/// Whether a request is for somebody else: it wants no WebSocket, not even by mistake.
fn is_no_handshake(request: &Request, rejection: &Rejection) -> bool {
    let headers = request.headers();
    match rejection.cause() {
        RejectionCause::NotUpgrade => true,
        RejectionCause::Method => !headers.contains("Upgrade") && !headers.contains("Sec-WebSocket-Key"),
        _ => false,
    }
}

/// A refusal for now.
fn unavailable(why: &str) -> Rejection {
    let rejection = Rejection::new(503).with_body(why);
    let seconds = RETRY_AFTER.as_secs().to_string();
    rejection
        .clone()
        .with_header("Retry-After", seconds)
        .unwrap_or(rejection)
}

/// When a client may come back that found no room.
const RETRY_AFTER: std::time::Duration = std::time::Duration::from_secs(5);
