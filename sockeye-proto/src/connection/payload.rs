//! Payload that is not handed over where it stands: fragments that are assembled, compressed messages, and chunks.

use bytes::Bytes;

use super::receive::Item;
use super::{Connection, Event, Expect, Receive};
use crate::deflate::{self, Inflated};
use crate::error::ProtocolError;
use crate::message::{Assembly, MessageKind};

impl Connection {
    /// Takes what is there of a frame that is assembled, inflated, or handed over in chunks.
    pub(super) fn part(&mut self, input: &mut [u8]) -> Result<(usize, Option<Item>), ProtocolError> {
        let payload = self.available(input);
        // A header alone takes no memory: neither a buffer nor an inflater.
        if payload.is_empty() && self.remaining > 0 {
            return Ok((0, None));
        }
        self.unmask(payload);
        self.kept = payload.len();
        match (self.receiving, self.compressed) {
            (Receive::Messages, false) => self.assemble(payload),
            (Receive::Messages, true) => self.assemble_inflated(payload),
            (Receive::Chunks, false) => self.chunk(payload),
            (Receive::Chunks, true) => self.inflated_chunk(payload),
        }
    }

    /// The first `length` bytes of the payload are done with. Answers whether that ends the message.
    fn consume(&mut self, length: usize) -> bool {
        self.remaining -= length as u64;
        self.kept -= length;
        if self.remaining == 0 && !self.fin {
            self.expect = Expect::Header;
        }
        self.remaining == 0 && self.fin
    }

    /// The message has been received to its end.
    pub(super) fn end_message(&mut self) -> MessageKind {
        self.expect = Expect::Header;
        self.kept = 0;
        self.message.take().unwrap_or(MessageKind::Binary)
    }

    fn assemble(&mut self, payload: &[u8]) -> Result<(usize, Option<Item>), ProtocolError> {
        let limit = self.config.max_message_size;
        self.assembly().push(payload, limit)?;
        if !self.consume(payload.len()) {
            return Ok((payload.len(), None));
        }
        self.end_assembly(payload.len())
    }

    fn assemble_inflated(&mut self, payload: &[u8]) -> Result<(usize, Option<Item>), ProtocolError> {
        let limit = self.config.max_message_size;
        if let Some(inflated) = self.inflate_whole(payload)? {
            self.assemble_output(inflated, limit)?;
            self.consume(payload.len());
            return self.end_assembly(payload.len());
        }
        let mut read = 0;
        loop {
            let inflated = self.inflater()?.inflate(&payload[read..])?;
            read += inflated.read;
            self.assemble_output(inflated, limit)?;
            if read == payload.len() && !inflated.more {
                break;
            }
        }
        if !self.consume(payload.len()) {
            return Ok((payload.len(), None));
        }
        loop {
            let inflated = self.inflater()?.finish()?;
            self.assemble_output(inflated, limit)?;
            if !inflated.more {
                return self.end_assembly(payload.len());
            }
        }
    }

    /// Inflates a message that is all there, if it refers to no other, is short, and nothing is wrong with it.
    fn inflate_whole(&mut self, payload: &[u8]) -> Result<Option<Inflated>, ProtocolError> {
        let whole = self.fin && payload.len() as u64 == self.message_length;
        let takeover = self
            .deflate
            .is_some_and(|agreed| agreed.peer_context_takeover(self.role));
        if !whole || takeover {
            return Ok(None);
        }
        Ok(self.inflater()?.inflate_whole(payload))
    }

    fn assemble_output(&mut self, inflated: Inflated, limit: u64) -> Result<(), ProtocolError> {
        let kind = self.message.unwrap_or(MessageKind::Binary);
        let extra = self.extra();
        let assembly = extra.assembly.get_or_insert_with(|| Assembly::new(kind));
        extra.inflater.as_ref().map_or(Ok(()), |inflater| {
            assembly.push(inflater.output(inflated.written), limit)
        })
    }

    fn end_assembly(&mut self, consumed: usize) -> Result<(usize, Option<Item>), ProtocolError> {
        if !self.assembly().is_complete() {
            return Err(ProtocolError::InvalidUtf8);
        }
        self.end_message();
        Ok((consumed, Some(Item::Assembled)))
    }

    fn chunk(&mut self, payload: &[u8]) -> Result<(usize, Option<Item>), ProtocolError> {
        let kind = self.check_chunk_text(payload)?;
        let fin = self.consume(payload.len());
        self.end_chunk(fin)?;
        let item = Item::Chunk(kind, 0..payload.len(), fin);
        let empty = payload.is_empty() && !fin;
        Ok((payload.len(), (!empty).then_some(item)))
    }

    fn inflated_chunk(&mut self, payload: &[u8]) -> Result<(usize, Option<Item>), ProtocolError> {
        let mut inflated = self.inflater()?.inflate(payload)?;
        let consumed = inflated.read;
        let mut fin = false;
        // Output is left in the inflater while it fills its scratch area: more input must wait, and so must the end.
        if self.consume(consumed) && inflated.written == 0 {
            inflated = self.inflater()?.finish()?;
            fin = !inflated.more;
        }
        let limit = self.config.size_limit(Receive::Chunks);
        let extra = self.extra();
        extra.inflated += inflated.written as u64;
        if extra.inflated > limit {
            return Err(ProtocolError::MessageTooBig { limit });
        }
        let kind = self.check_inflated_text(inflated.written)?;
        self.end_chunk(fin)?;
        let item = Item::Inflated(kind, inflated.written, fin);
        let empty = inflated.written == 0 && !fin;
        Ok((consumed, (!empty).then_some(item)))
    }

    fn check_chunk_text(&mut self, data: &[u8]) -> Result<MessageKind, ProtocolError> {
        if self.message == Some(MessageKind::Text) {
            self.utf8.push(data).map_err(|_| ProtocolError::InvalidUtf8)?;
            return Ok(MessageKind::Text);
        }
        Ok(MessageKind::Binary)
    }

    fn check_inflated_text(&mut self, length: usize) -> Result<MessageKind, ProtocolError> {
        let mut utf8 = self.utf8;
        let text = self.message == Some(MessageKind::Text);
        if !text {
            return Ok(MessageKind::Binary);
        }
        utf8.push(self.inflated(length))
            .map_err(|_| ProtocolError::InvalidUtf8)?;
        self.utf8 = utf8;
        Ok(MessageKind::Text)
    }

    fn end_chunk(&mut self, fin: bool) -> Result<(), ProtocolError> {
        if fin {
            // Only text has ever moved the validator.
            if !self.utf8.is_complete() {
                return Err(ProtocolError::InvalidUtf8);
            }
            self.end_message();
        }
        Ok(())
    }

    fn inflater(&mut self) -> Result<&mut deflate::Inflater, ProtocolError> {
        let agreed = self.deflate.ok_or(ProtocolError::UnexpectedRsv1)?;
        let inflater = &mut self.extra().inflater;
        Ok(inflater.get_or_insert_with(|| deflate::take_inflater(agreed)))
    }

    pub(super) fn inflated(&self, length: usize) -> &[u8] {
        let inflater = self.extra.as_ref().and_then(|extra| extra.inflater.as_ref());
        inflater.map_or(&[], |inflater| inflater.output(length))
    }

    fn assembly(&mut self) -> &mut Assembly {
        let kind = self.message.unwrap_or(MessageKind::Binary);
        self.extra().assembly.get_or_insert_with(|| Assembly::new(kind))
    }

    pub(super) fn assembled(&self) -> Option<Event<&[u8]>> {
        self.extra.as_ref()?.assembly.as_ref()?.event()
    }

    pub(super) fn take_assembled(&mut self) -> Option<Event<Bytes>> {
        match self.extra.as_mut()?.assembly.take()? {
            Assembly::Text(text) => Some(Event::Text(text.into_utf8_bytes().ok()?)),
            Assembly::Binary(bytes) => Some(Event::Binary(bytes.into())),
        }
    }
}

impl Assembly {
    /// The message, if it is one.
    pub(super) fn event(&self) -> Option<Event<&[u8]>> {
        match self {
            Self::Text(text) => text.as_str().map(Event::Text),
            Self::Binary(bytes) => Some(Event::Binary(bytes)),
        }
    }
}
