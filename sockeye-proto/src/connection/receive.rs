//! From bytes to events: the receiving side of a [`Connection`].
//!
//! Both fronts, borrowed and owned, are views of one private step, which tells where in the input the data stands.

use alloc::vec::Vec;
use core::ops::Range;

use bytes::{Buf, Bytes, BytesMut};

use super::{Connection, Event, Expect, Receive, Role, compressed_size};
use crate::close::{self, CloseCode, CloseFrame, CloseState};
use crate::deflate;
use crate::error::ProtocolError;
use crate::frame::{ControlPayload, FrameHeader, Opcode};
use crate::mask;
use crate::message::{Assembly, MessageKind};
use crate::utf8::{Utf8Bytes, Validator};

/// What one call of [`Connection::receive`] found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Received<'a> {
    /// How many bytes of the input are done with, those of the event included.
    pub consumed: usize,
    /// What happened; `None` if nothing more can be told before more input arrives.
    pub event: Option<Event<&'a [u8]>>,
}

/// What a step found, by the place of its data: a range is of the input.
pub(super) enum Item {
    Whole(MessageKind, Range<usize>),
    /// A message that came together in the connection's own buffer.
    Assembled,
    Chunk(MessageKind, Range<usize>, bool),
    /// A chunk in the inflater's output, of this length.
    Inflated(MessageKind, usize, bool),
    Ping(Range<usize>),
    Pong(Range<usize>),
    Close(Option<CloseFrame>),
}

impl Connection {
    /// Finds the next event in `input`, unmasking in place, and lends its data.
    ///
    /// Call it again with the rest of the input until it answers no event. The rest, not empty when a frame is
    /// incomplete, must stand unchanged at the start of the next call's input. Answers to control frames are appended
    /// to `out`.
    ///
    /// # Errors
    ///
    /// What the peer did wrong, once: the Close frame for it is then in `out`, the state is
    /// [`CloseState::Closed`], and all later input is discarded. Messages before the bad frame have been delivered.
    #[inline]
    pub fn receive<'a>(&'a mut self, input: &'a mut [u8], out: &mut Vec<u8>) -> Result<Received<'a>, ProtocolError> {
        let (consumed, item) = self.step_or_fail(input, out)?;
        let input: &'a [u8] = input;
        let event = match item {
            None => None,
            Some(Item::Whole(MessageKind::Text, range)) => match simdutf8::basic::from_utf8(&input[range]) {
                Ok(text) => Some(Event::Text(text)),
                Err(_) => return Err(self.fail(ProtocolError::InvalidUtf8, out)),
            },
            Some(Item::Whole(MessageKind::Binary, range)) => Some(Event::Binary(&input[range])),
            Some(Item::Assembled) => self.assembled(),
            Some(Item::Chunk(kind, range, fin)) => Some(Event::Chunk {
                kind,
                data: &input[range],
                fin,
            }),
            Some(Item::Inflated(kind, length, fin)) => Some(Event::Chunk {
                kind,
                data: self.inflated(length),
                fin,
            }),
            Some(Item::Ping(range)) => Some(Event::Ping(&input[range])),
            Some(Item::Pong(range)) => Some(Event::Pong(&input[range])),
            Some(Item::Close(frame)) => Some(Event::Close(frame)),
        };
        Ok(Received { consumed, event })
    }

    /// Finds the next event in `input` as [`receive`](Self::receive) does, and lends its data to `take` together with the
    /// connection, so that an answer can be sent while the data is still there. Answers how many bytes are done with, and
    /// what `take` made of the event, if there was one.
    ///
    /// # Errors
    ///
    /// As [`receive`](Self::receive).
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use sockeye_proto::connection::{Config, Connection, Event, Role};
    /// # let config = Arc::new(Config::new(|bytes| bytes.fill(0x2a)));
    /// let mut connection = Connection::new(Role::Server, config);
    /// let mut input = *b"\x82\x83\0\0\0\0abc";
    /// let mut output = Vec::new();
    /// let (consumed, _) = connection.receive_with(&mut input, &mut output, |connection, event, output| {
    ///     if let Event::Binary(data) = event {
    ///         connection.send(data, output)?;
    ///     }
    ///     Ok::<_, sockeye_proto::error::SendError>(())
    /// })?;
    /// assert_eq!((consumed, output.as_slice()), (9, b"\x82\x03abc".as_slice()));
    /// # Ok::<(), sockeye_proto::error::ProtocolError>(())
    /// ```
    #[inline]
    pub fn receive_with<R>(
        &mut self,
        input: &mut [u8],
        out: &mut Vec<u8>,
        take: impl FnOnce(&mut Self, Event<&[u8]>, &mut Vec<u8>) -> R,
    ) -> Result<(usize, Option<R>), ProtocolError> {
        let (consumed, item) = self.step_or_fail(input, out)?;
        let taken = match item {
            None => return Ok((consumed, None)),
            Some(Item::Whole(MessageKind::Text, range)) => match simdutf8::basic::from_utf8(&input[range]) {
                Ok(text) => take(self, Event::Text(text), out),
                Err(_) => return Err(self.fail(ProtocolError::InvalidUtf8, out)),
            },
            Some(Item::Whole(MessageKind::Binary, range)) => take(self, Event::Binary(&input[range]), out),
            Some(Item::Assembled) => {
                // Out of the connection for as long as it is lent.
                let assembly = self.extra.as_mut().and_then(|extra| extra.assembly.take());
                let Some(event) = assembly.as_ref().and_then(Assembly::event) else {
                    return Ok((consumed, None));
                };
                take(self, event, out)
            }
            Some(Item::Chunk(kind, range, fin)) => {
                let data = &input[range];
                take(self, Event::Chunk { kind, data, fin }, out)
            }
            Some(Item::Inflated(kind, length, fin)) => {
                let inflater = self.extra.as_mut().and_then(|extra| extra.inflater.take());
                let data = inflater.as_ref().map_or(&[][..], |inflater| inflater.output(length));
                let taken = take(self, Event::Chunk { kind, data, fin }, out);
                match inflater {
                    // Failed or closed meanwhile: it is of no more use.
                    Some(inflater) if self.state == CloseState::Closed => deflate::put_inflater(inflater),
                    inflater => self.extra().inflater = inflater,
                }
                taken
            }
            Some(Item::Ping(range)) => take(self, Event::Ping(&input[range]), out),
            Some(Item::Pong(range)) => take(self, Event::Pong(&input[range]), out),
            Some(Item::Close(frame)) => take(self, Event::Close(frame), out),
        };
        Ok((consumed, Some(taken)))
    }

    /// Finds the next event in `input`, takes it out and hands its data over: a message that came whole and
    /// uncompressed is split off the input without a copy.
    ///
    /// Call it until it answers `None`, then append to `input` what arrives next; what the last event needed is let go of
    /// only then. Answers to control frames are appended to `out`. What is split off holds on to the whole of the
    /// input's storage: copy small data that is to be kept for long, or take it by
    /// [`receive_small`](Self::receive_small).
    ///
    /// # Errors
    ///
    /// As [`receive`](Self::receive).
    #[inline]
    pub fn receive_bytes(
        &mut self,
        input: &mut BytesMut,
        out: &mut Vec<u8>,
    ) -> Result<Option<Event<Bytes>>, ProtocolError> {
        let (consumed, item) = self.step_or_fail(input, out)?;
        let event = match item {
            None => None,
            Some(Item::Whole(MessageKind::Text, range)) => match Utf8Bytes::try_from(take(input, range)) {
                Ok(text) => return Ok(Some(Event::Text(text))),
                Err(_) => return Err(self.fail(ProtocolError::InvalidUtf8, out)),
            },
            Some(Item::Whole(MessageKind::Binary, range)) => return Ok(Some(Event::Binary(take(input, range)))),
            Some(Item::Assembled) => self.take_assembled(),
            Some(Item::Chunk(kind, range, fin)) => {
                let data = take(input, range);
                return Ok(Some(Event::Chunk { kind, data, fin }));
            }
            Some(Item::Inflated(kind, length, fin)) => Some(Event::Chunk {
                kind,
                data: Bytes::copy_from_slice(self.inflated(length)),
                fin,
            }),
            Some(Item::Ping(range)) => return Ok(Some(Event::Ping(take(input, range)))),
            Some(Item::Pong(range)) => return Ok(Some(Event::Pong(take(input, range)))),
            Some(Item::Close(frame)) => Some(Event::Close(frame)),
        };
        input.advance(consumed);
        Ok(event)
    }

    /// Fails the connection (§7.1.7): says why in a Close frame, unless one was sent, and discards what comes.
    pub(super) fn fail(&mut self, error: ProtocolError, out: &mut Vec<u8>) -> ProtocolError {
        if self.state == CloseState::Open {
            // No reason of an error's is too long, and no code of its cannot be sent.
            if let Ok(body) = close::encode_body(CloseCode::from(&error), error.reason()) {
                self.append_close(CloseCode::from(&error), &body, out);
            }
        }
        self.end();
        error
    }

    /// The closing handshake is over, or there will be none.
    pub(super) fn end(&mut self) {
        self.state = CloseState::Closed;
        self.expect = Expect::Nothing;
        self.message = None;
        self.kept = 0;
        if let Some(extra) = self.extra.take() {
            extra.inflater.into_iter().for_each(deflate::put_inflater);
            extra.deflater.into_iter().for_each(deflate::put_deflater);
        }
    }

    #[inline]
    fn step_or_fail(&mut self, input: &mut [u8], out: &mut Vec<u8>) -> Result<(usize, Option<Item>), ProtocolError> {
        if let Some((kind, key, payload)) = self.whole(input, usize::MAX) {
            if let Some(key) = key {
                mask::apply(&mut input[payload.clone()], key, 0);
            }
            return Ok((payload.end, Some(Item::Whole(kind, payload))));
        }
        self.any_step_or_fail(input, out)
    }

    #[inline(never)]
    fn any_step_or_fail(
        &mut self,
        input: &mut [u8],
        out: &mut Vec<u8>,
    ) -> Result<(usize, Option<Item>), ProtocolError> {
        self.release_delivered();
        self.resume_output(out);
        self.step(input, out).map_err(|error| self.fail(error, out))
    }

    /// The one private step: what the bytes from the start of `input` come to, and how many of them are done with.
    fn step(&mut self, input: &mut [u8], out: &mut Vec<u8>) -> Result<(usize, Option<Item>), ProtocolError> {
        if input.len() < self.kept {
            // The start of a frame was not shown again. There is nothing to go on with.
            return Ok((0, None));
        }
        let mut at = 0;
        loop {
            match self.expect {
                Expect::Header => {
                    let Some((header, length)) = FrameHeader::decode(&input[at..])? else {
                        return Ok((at, None));
                    };
                    self.begin_frame(&header)?;
                    at += length;
                }
                Expect::Whole => {
                    let payload = self.available(&mut input[at..]);
                    let range = at..at + payload.len();
                    if !self.whole_so_far(payload)? {
                        return Ok((at, None));
                    }
                    let kind = self.end_message();
                    return Ok((range.end, Some(Item::Whole(kind, range))));
                }
                Expect::Part => {
                    let (consumed, item) = self.part(&mut input[at..])?;
                    let item = item.map(|item| match item {
                        Item::Chunk(kind, range, fin) => Item::Chunk(kind, range.start + at..range.end + at, fin),
                        item => item,
                    });
                    at += consumed;
                    if item.is_some() || self.expect == Expect::Part {
                        return Ok((at, item));
                    }
                }
                Expect::Control(opcode) => {
                    let payload = self.available(&mut input[at..]);
                    let range = at..at + payload.len();
                    self.unmask(payload);
                    self.kept = range.len();
                    if (range.len() as u64) < self.remaining {
                        return Ok((at, None));
                    }
                    self.expect = Expect::Header;
                    self.kept = 0;
                    let item = self.control(opcode, &input[range.clone()], range.clone(), out)?;
                    return Ok((range.end, Some(item)));
                }
                // §1.4: "after receiving a control frame indicating the connection should be closed, a peer discards any
                // further data received."
                Expect::Nothing => return Ok((input.len(), None)),
            }
        }
    }

    /// Checks a frame's header against the connection's state and makes it the current frame.
    fn begin_frame(&mut self, header: &FrameHeader) -> Result<(), ProtocolError> {
        // §5.1: "The server MUST close the connection upon receiving a frame that is not masked. … A client MUST close a
        // connection if it detects a masked frame."
        self.masking_key = match (self.role, header.masking_key) {
            (Role::Server, Some(key)) => key,
            (Role::Client, None) => [0; 4],
            (Role::Server, None) => return Err(ProtocolError::UnmaskedFrame),
            (Role::Client, Some(_)) => return Err(ProtocolError::MaskedFrame),
        };
        self.phase = 0;
        self.kept = 0;
        self.remaining = header.payload_length;
        let first = match header.opcode {
            Opcode::Continuation => None,
            Opcode::Text => Some(MessageKind::Text),
            Opcode::Binary => Some(MessageKind::Binary),
            control => {
                // RFC 7692 §6: "An endpoint MUST NOT set the "Per-Message Compressed" bit of control frames".
                if header.rsv1 {
                    return Err(ProtocolError::UnexpectedRsv1);
                }
                self.expect = Expect::Control(control);
                return Ok(());
            }
        };
        match (first, self.message) {
            (Some(kind), None) => {
                if header.rsv1 && self.deflate.is_none() {
                    return Err(ProtocolError::UnexpectedRsv1);
                }
                self.message = Some(kind);
                self.compressed = header.rsv1;
                self.receiving = self.receive;
                self.message_length = 0;
                self.parts = 0;
                self.utf8 = Validator::default();
            }
            // RFC 7692 §6: "… and non-first fragments of a data message."
            (None, Some(_)) if header.rsv1 => return Err(ProtocolError::UnexpectedRsv1),
            (None, Some(_)) => {}
            (None, None) => return Err(ProtocolError::UnexpectedContinuation),
            // §5.4: "The fragments of one message MUST NOT be interleaved between the fragments of another message".
            (Some(_), Some(_)) => return Err(ProtocolError::ExpectedContinuation),
        }
        self.check_limits(header.payload_length)?;
        self.fin = header.fin;
        let whole = self.parts == 1 && header.fin && !self.compressed;
        self.expect = if whole && self.receiving == Receive::Messages {
            Expect::Whole
        } else {
            Expect::Part
        };
        Ok(())
    }

    /// Counts a data frame against the limits, before any of its payload is looked at.
    fn check_limits(&mut self, payload_length: u64) -> Result<(), ProtocolError> {
        self.parts += 1;
        let limit = self.config.size_limit(self.receiving);
        let parts = self.config.parts_of(limit);
        if self.parts > parts {
            return Err(ProtocolError::TooManyParts { limit: parts });
        }
        self.message_length = self.message_length.saturating_add(payload_length);
        let wire_limit = if self.compressed { compressed_size(limit) } else { limit };
        if self.message_length > wire_limit {
            return Err(ProtocolError::MessageTooBig { limit });
        }
        Ok(())
    }

    /// The part of `input` that is payload of the current frame.
    pub(super) fn available<'i>(&self, input: &'i mut [u8]) -> &'i mut [u8] {
        let length = usize::try_from(self.remaining).map_or(input.len(), |n| n.min(input.len()));
        &mut input[..length]
    }

    /// Unmasks what is new in `payload`, which starts with the bytes that were kept.
    #[inline]
    pub(super) fn unmask(&mut self, payload: &mut [u8]) {
        if self.role == Role::Server {
            let new = &mut payload[self.kept..];
            mask::apply(new, self.masking_key, usize::from(self.phase));
            self.phase = (self.phase + (new.len() % 4) as u8) % 4;
        }
    }

    /// Looks at a payload that is a whole message; answers whether it is all there.
    fn whole_so_far(&mut self, payload: &mut [u8]) -> Result<bool, ProtocolError> {
        self.unmask(payload);
        let complete = payload.len() as u64 == self.remaining;
        // Text that is complete is checked when it becomes a `str`. What is not fails at its first bad byte.
        if !complete && self.message == Some(MessageKind::Text) {
            self.utf8
                .push(&payload[self.kept..])
                .map_err(|_| ProtocolError::InvalidUtf8)?;
        }
        self.kept = payload.len();
        Ok(complete)
    }

    fn control(
        &mut self,
        opcode: Opcode,
        body: &[u8],
        range: Range<usize>,
        out: &mut Vec<u8>,
    ) -> Result<Item, ProtocolError> {
        match opcode {
            Opcode::Ping => {
                self.answer_ping(body, out);
                Ok(Item::Ping(range))
            }
            Opcode::Close => {
                let frame = close::decode_body(body)?;
                self.answer_close(frame.as_ref(), out);
                Ok(Item::Close(frame))
            }
            _ => Ok(Item::Pong(range)),
        }
    }

    /// §5.5.2: "Upon receipt of a Ping frame, an endpoint MUST send a Pong frame in response, unless it already received
    /// a Close frame."
    fn answer_ping(&mut self, body: &[u8], out: &mut Vec<u8>) {
        if self.state != CloseState::Open {
            return;
        }
        if out.len() <= PONG_BACKLOG {
            self.append_frame(Opcode::Pong, body, out);
            return;
        }
        // §5.5.3: "If an endpoint receives a Ping frame and has not yet sent Pong frame(s) in response to previous Ping
        // frame(s), the endpoint MAY elect to send a Pong frame for only the most recently processed Ping frame."
        let mut pong = ControlPayload::default();
        pong.append(body);
        self.extra().waiting_pong = Some(pong);
    }

    /// §5.5.1: "If an endpoint receives a Close frame and did not previously send a Close frame, the endpoint MUST send a
    /// Close frame in response. (When sending a Close frame in response, the endpoint typically echos the status code it
    /// received.)"
    fn answer_close(&mut self, frame: Option<&CloseFrame>, out: &mut Vec<u8>) {
        let code = frame.map_or(CloseCode::NO_STATUS, |frame| frame.code);
        self.close_received = code.as_u16();
        if self.state == CloseState::Open {
            let mut body = ControlPayload::default();
            if frame.is_some() {
                body.append(&code.as_u16().to_be_bytes());
            }
            self.append_close(code, &body, out);
        }
        self.end();
    }

    /// Appends the answer to the latest ping, if it had to wait because too much output stood before it.
    ///
    /// A driver calls this when it has written the output. [`receive`](Self::receive) does the same first.
    #[inline]
    pub fn resume_output(&mut self, out: &mut Vec<u8>) {
        if self.extra.is_some() && out.len() <= PONG_BACKLOG {
            self.resume_pong(out);
        }
    }

    fn resume_pong(&mut self, out: &mut Vec<u8>) {
        let Some(pong) = self.extra.as_mut().and_then(|extra| extra.waiting_pong.take()) else {
            return;
        };
        if self.state == CloseState::Open {
            self.append_frame(Opcode::Pong, pong.as_bytes(), out);
        }
        self.drop_empty_extra();
    }

    /// Lets go of what the last event lent, and of an inflater that carries nothing over.
    fn release_delivered(&mut self) {
        if self.message.is_some() {
            return;
        }
        let Some(extra) = &mut self.extra else { return };
        extra.assembly = None;
        extra.inflated = 0;
        let keeps_window = self
            .deflate
            .is_some_and(|agreed| agreed.peer_context_takeover(self.role));
        if !keeps_window && let Some(inflater) = extra.inflater.take() {
            deflate::put_inflater(inflater);
        }
        self.drop_empty_extra();
    }
}

/// Takes what stands at `range` out of the input, with what stands before it.
fn take(input: &mut BytesMut, range: Range<usize>) -> Bytes {
    let mut data = input.split_to(range.end);
    data.advance(range.start);
    data.freeze()
}

/// How much output may stand unsent, in bytes, before pongs wait: the answers to pings that arrive faster than their
/// pongs leave take no more memory than this.
const PONG_BACKLOG: usize = 8 * 1024;
