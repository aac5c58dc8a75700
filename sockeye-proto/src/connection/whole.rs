//! The short way for what nearly all traffic is: messages in one frame, uncompressed, that stand whole in the input.
//!
//! It reads and judges such a message, and leaves the connection's state as it is. About everything else it says nothing,
//! and leaves it to `receive`, which takes such messages too, and to the same effect.

use alloc::vec::Vec;
use core::ops::Range;

use super::{Connection, Receive, Role};
use crate::error::ProtocolError;
use crate::frame::{FrameHeader, Opcode};
use crate::mask;
use crate::message::{Message, MessageKind, Payload};
use crate::utf8::Utf8Bytes;

impl Connection {
    /// The short way for what most traffic is: copies a message that came in one frame, uncompressed, stands whole at the
    /// start of `input`, and has at most `most` bytes of payload. Answers how many bytes are done with, and the message.
    ///
    /// To allocate so little costs no more than to share it, and the message does not hold on to all that was received
    /// with it.
    ///
    /// `None` says nothing about `input`, and changes nothing: go on with [`receive`](Self::receive) or
    /// [`receive_bytes`](Self::receive_bytes), which take such a message too, and to the same effect.
    #[inline]
    pub fn receive_small(&mut self, input: &[u8], most: usize) -> Option<(usize, Message)> {
        if let Some((kind, key, range)) = self.short(input) {
            let payload = input.get(range.clone()).filter(|payload| payload.len() <= most)?;
            return Some((range.end, Message::unmask(kind, payload, Some(key))?));
        }
        self.receive_copied(input, most)
    }

    /// The same for a message with a longer header, or to a client.
    #[inline(never)]
    fn receive_copied(&mut self, input: &[u8], most: usize) -> Option<(usize, Message)> {
        let (kind, key, range) = self.whole(input, most)?;
        let payload = &input[range.clone()];
        if let Some(message) = Message::unmask(kind, payload, key) {
            return Some((range.end, message));
        }
        let mut copy = Vec::with_capacity(payload.len());
        match key {
            Some(key) => mask::copy(payload, key, &mut copy),
            None => copy.extend_from_slice(payload),
        }
        let message = match kind {
            MessageKind::Text => Utf8Bytes::try_from(copy).ok()?.into(),
            MessageKind::Binary => copy.into(),
        };
        Some((range.end, message))
    }

    /// The short way for a driver that answers while it reads: lends a message that came in one frame, uncompressed, and
    /// stands whole at the start of `input`, unmasked in place. It does not borrow the connection, by which an answer can be
    /// sent at once. Answers how many bytes are done with, and the message.
    ///
    /// `None` says nothing about `input`, and changes nothing: go on with [`receive_with`](Self::receive_with), which takes
    /// such a message too, and to the same effect.
    ///
    /// # Errors
    ///
    /// [`ProtocolError::InvalidUtf8`], as [`receive`](Self::receive).
    // Or else the answer goes through memory, a payload's address in pieces.
    #[inline(always)]
    pub fn receive_whole<'i>(
        &mut self,
        input: &'i mut [u8],
        out: &mut Vec<u8>,
    ) -> Result<Option<(usize, Payload<'i>)>, ProtocolError> {
        let Some((kind, key, range)) = self.whole(input, usize::MAX) else {
            return Ok(None);
        };
        let end = range.end;
        let payload = &mut input[range];
        if let Some(key) = key {
            mask::apply(payload, key, 0);
        }
        match kind {
            MessageKind::Binary => Ok(Some((end, Payload::Binary(payload)))),
            MessageKind::Text => match simdutf8::basic::from_utf8(payload) {
                Ok(text) => Ok(Some((end, Payload::Text(text)))),
                Err(_) => Err(self.fail(ProtocolError::InvalidUtf8, out)),
            },
        }
    }

    /// A message in one frame, uncompressed, that is there to its end.
    ///
    /// It tells where the payload stands, and by what key it is masked. `None` for anything else, and for a payload of more
    /// than `most` bytes.
    #[inline]
    pub(super) fn whole(&self, input: &[u8], most: usize) -> Option<(MessageKind, Option<[u8; 4]>, Range<usize>)> {
        if let Some((kind, key, range)) = self.short(input) {
            return (range.end <= input.len() && range.len() <= most).then_some((kind, Some(key), range));
        }
        if !self.takes_whole() {
            return None;
        }
        let (kind, key, start, length) = self.whole_header(input)?;
        let there = most.min(input.len() - start) as u64;
        if length > there.min(self.config.max_message_size) {
            return None;
        }
        Some((kind, key, start..start + length as usize))
    }

    /// The same, of at most 125 bytes and from a client; its payload may lack its end.
    #[inline]
    fn short(&self, input: &[u8]) -> Option<(MessageKind, [u8; 4], Range<usize>)> {
        if self.role != Role::Server || !self.takes_whole() {
            return None;
        }
        let (kind, length, key) = FrameHeader::decode_short(input)?;
        let start = FrameHeader::SHORT_MASKED;
        (u64::from(length) <= self.config.max_message_size).then_some((kind, key, start..start + usize::from(length)))
    }

    /// Whether a message in one frame may come now, and is handed over whole.
    #[inline]
    fn takes_whole(&self) -> bool {
        self.is_between_messages() && self.receive == Receive::Messages && self.config.max_message_parts != Some(0)
    }

    /// The header of a message in one frame, uncompressed: kind, key, where the payload starts and how long it is.
    fn whole_header(&self, input: &[u8]) -> Option<(MessageKind, Option<[u8; 4]>, usize, u64)> {
        let (header, start) = FrameHeader::decode(input).ok()??;
        let kind = match header.opcode {
            Opcode::Text => MessageKind::Text,
            Opcode::Binary => MessageKind::Binary,
            _ => return None,
        };
        let masked = self.role == Role::Server;
        let plain = header.fin && !header.rsv1 && header.masking_key.is_some() == masked;
        plain.then_some((kind, header.masking_key, start, header.payload_length))
    }
}
