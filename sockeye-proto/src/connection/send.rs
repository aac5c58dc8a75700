//! From messages to frames: the sending side of a [`Connection`].

use alloc::boxed::Box;
use alloc::vec::Vec;

use super::{Connection, Role};
use crate::close::{self, CloseCode, CloseState};
use crate::deflate::{self, DeflateParams, Deflater};
use crate::error::SendError;
use crate::frame::{ControlPayload, FrameHeader, MAX_CONTROL_PAYLOAD, Opcode};
use crate::mask;
use crate::message::Payload;
use crate::prepared::Prepared;

/// Whether a message is compressed, where permessage-deflate was negotiated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Compress {
    /// If it is at least as long as the threshold and, without context takeover, gets shorter. With it, what the
    /// compressor has seen must be sent as it came out.
    #[default]
    Auto,
    /// Whatever its length.
    Always,
    /// Not: it is compressed already, or secret (compression tells lengths).
    Never,
}

impl Connection {
    /// Appends a message to `out`, as one frame.
    ///
    /// # Errors
    ///
    /// [`SendError::Closed`] after a Close, [`SendError::MessageInProgress`] between the fragments of another message.
    #[inline]
    pub fn send<'a>(&mut self, payload: impl Into<Payload<'a>>, out: &mut Vec<u8>) -> Result<(), SendError> {
        self.send_with(payload, Compress::Auto, out)
    }

    /// Appends a message to `out`, as one frame, with a say in its compression.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send).
    #[inline]
    pub fn send_with<'a>(
        &mut self,
        payload: impl Into<Payload<'a>>,
        compress: Compress,
        out: &mut Vec<u8>,
    ) -> Result<(), SendError> {
        let payload = payload.into();
        self.check_can_begin()?;
        let (opcode, bytes) = (payload.kind().opcode(), payload.as_bytes());
        match self.deflate {
            None => self.append_frame(opcode, bytes, out),
            Some(_) => self.append_compressible(opcode, bytes, compress, out),
        }
        Ok(())
    }

    /// Appends a message to `out`, but for its payload if that may follow as it is: answers true then, and the caller sends
    /// the payload right behind what is in `out`, uncopied.
    ///
    /// That is so for a server's message that is not compressed and has at least `least` bytes.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send).
    pub fn send_uncopied<'a>(
        &mut self,
        payload: impl Into<Payload<'a>>,
        least: usize,
        out: &mut Vec<u8>,
    ) -> Result<bool, SendError> {
        let payload = payload.into();
        let bytes = payload.as_bytes();
        let uncopied = self.role == Role::Server
            && bytes.len() >= least
            && self.compression(Compress::Auto, bytes.len()).is_none();
        if !uncopied {
            return self.send(payload, out).map(|()| false);
        }
        self.check_can_begin()?;
        let header = FrameHeader {
            fin: true,
            rsv1: false,
            opcode: payload.kind().opcode(),
            masking_key: None,
            payload_length: bytes.len() as u64,
        };
        header.encode(out);
        Ok(true)
    }

    /// Appends one fragment of a message to `out`: the first call begins a message, the one with `fin` ends it.
    ///
    /// For messages whose length is not known when they begin. Each fragment of a text is text by itself, so the whole
    /// is too. Control frames may go between fragments (§5.4), other messages may not. Whether the message is compressed
    /// is decided by `compress` of its first fragment; `Auto` compresses, since the length is not known.
    ///
    /// # Errors
    ///
    /// [`SendError::Closed`] after a Close, [`SendError::MessageInProgress`] if a message of the other kind is in
    /// progress.
    pub fn send_fragment<'a>(
        &mut self,
        payload: impl Into<Payload<'a>>,
        fin: bool,
        compress: Compress,
        out: &mut Vec<u8>,
    ) -> Result<(), SendError> {
        let payload = payload.into();
        if self.state != CloseState::Open {
            return Err(SendError::Closed);
        }
        let first = self.sending.is_none();
        if self.sending.is_some_and(|kind| kind != payload.kind()) {
            return Err(SendError::MessageInProgress);
        }
        if first {
            self.sending = Some(payload.kind());
            self.sending_compressed = self.compression(compress, usize::MAX).is_some();
        }
        let opcode = if first {
            payload.kind().opcode()
        } else {
            Opcode::Continuation
        };
        if let Some(agreed) = self.deflate.filter(|_| self.sending_compressed) {
            let mut deflater = self.take_deflater(agreed);
            let body = deflater.compress(payload.as_bytes(), fin);
            // RFC 7692 §6: only the first fragment of a compressed message has RSV1 set.
            self.append(fin, first, opcode, body, out);
            self.put_deflater(deflater, fin);
        } else {
            self.append(fin, false, opcode, payload.as_bytes(), out);
        }
        if fin {
            self.sending = None;
            self.sending_compressed = false;
        }
        Ok(())
    }

    /// Appends a message that was encoded once for many connections.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send).
    pub fn send_prepared(&mut self, prepared: &Prepared, out: &mut Vec<u8>) -> Result<(), SendError> {
        self.check_can_begin()?;
        let window_bits = self.deflate.map_or(0, |agreed| agreed.own_window_bits(self.role));
        let Some(body) = prepared.compressed(window_bits) else {
            if self.role == Role::Server {
                out.extend_from_slice(prepared.plain_frame());
            } else {
                self.append_frame(prepared.kind().opcode(), prepared.payload(), out);
            }
            return Ok(());
        };
        self.append(true, true, prepared.kind().opcode(), body, out);
        self.forget_window();
        Ok(())
    }

    /// For a server that writes the frame of a [`Prepared`] itself, the same bytes to many: whether a message may be sent
    /// now, and by how many window bits [`Prepared::shared_frame`] chooses its form. The frame counts as sent.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send).
    #[inline]
    pub fn shared_window(&mut self) -> Result<u8, SendError> {
        self.check_can_begin()?;
        let window_bits = self.deflate.map_or(0, |agreed| agreed.own_window_bits(self.role));
        if window_bits > 0 {
            self.forget_window();
        }
        Ok(window_bits)
    }

    /// The peer's window has moved on without our compressor, whose next message must not refer to what it holds.
    fn forget_window(&mut self) {
        if let Some(deflater) = self.extra.as_mut().and_then(|extra| extra.deflater.take()) {
            deflate::put_deflater(deflater);
            self.drop_empty_extra();
        }
    }

    /// Appends a ping of at most 125 bytes.
    ///
    /// # Errors
    ///
    /// [`SendError::Closed`] after a Close, [`SendError::ControlFrameTooLong`].
    pub fn ping(&mut self, payload: &[u8], out: &mut Vec<u8>) -> Result<(), SendError> {
        self.send_control(Opcode::Ping, payload, out)
    }

    /// Appends an unsolicited pong of at most 125 bytes: a heartbeat that asks for no answer (§5.5.3). Pings are answered
    /// without it.
    ///
    /// # Errors
    ///
    /// As [`ping`](Self::ping).
    pub fn pong(&mut self, payload: &[u8], out: &mut Vec<u8>) -> Result<(), SendError> {
        self.send_control(Opcode::Pong, payload, out)
    }

    /// Appends a Close and begins the closing handshake: nothing can be sent after it.
    ///
    /// With [`CloseCode::NO_STATUS`] the frame has no body, and `reason` must be empty. The reason is for people and has
    /// at most 123 bytes.
    ///
    /// # Errors
    ///
    /// [`SendError::Closed`] if a Close was sent or received before, [`SendError::InvalidCloseCode`],
    /// [`SendError::ReasonTooLong`].
    pub fn close(&mut self, code: CloseCode, reason: &str, out: &mut Vec<u8>) -> Result<(), SendError> {
        if self.state != CloseState::Open {
            return Err(SendError::Closed);
        }
        let body = close::encode_body(code, reason)?;
        self.append_close(code, &body, out);
        self.state = CloseState::Closing;
        Ok(())
    }

    pub(super) fn append_close(&mut self, code: CloseCode, body: &ControlPayload, out: &mut Vec<u8>) {
        self.append_frame(Opcode::Close, body.as_bytes(), out);
        self.close_sent = code.as_u16();
    }

    /// Appends an uncompressed frame with FIN set.
    #[inline]
    pub(super) fn append_frame(&self, opcode: Opcode, payload: &[u8], out: &mut Vec<u8>) {
        self.append(true, false, opcode, payload, out);
    }

    #[inline]
    fn append(&self, fin: bool, rsv1: bool, opcode: Opcode, payload: &[u8], out: &mut Vec<u8>) {
        // What a server sends most, the short way.
        if self.role == Role::Server && fin && !rsv1 && payload.len() <= usize::from(MAX_CONTROL_PAYLOAD) {
            out.extend_from_slice(&FrameHeader::short(opcode, payload.len() as u8));
            out.extend_from_slice(payload);
            return;
        }
        self.append_any(fin, rsv1, opcode, payload, out);
    }

    #[inline(never)]
    fn append_any(&self, fin: bool, rsv1: bool, opcode: Opcode, payload: &[u8], out: &mut Vec<u8>) {
        // §5.3: "The masking key is a 32-bit value chosen at random by the client."
        let masking_key = (self.role == Role::Client).then(|| {
            let mut key = [0; 4];
            (self.config.entropy)(&mut key);
            key
        });
        let header = FrameHeader {
            fin,
            rsv1,
            opcode,
            masking_key,
            payload_length: payload.len() as u64,
        };
        out.reserve(FrameHeader::MAX_LENGTH + payload.len());
        header.encode(out);
        match masking_key {
            Some(key) => mask::copy(payload, key, out),
            None => out.extend_from_slice(payload),
        }
    }

    fn send_control(&mut self, opcode: Opcode, payload: &[u8], out: &mut Vec<u8>) -> Result<(), SendError> {
        if self.state != CloseState::Open {
            return Err(SendError::Closed);
        }
        if payload.len() > usize::from(MAX_CONTROL_PAYLOAD) {
            return Err(SendError::ControlFrameTooLong);
        }
        self.append_frame(opcode, payload, out);
        Ok(())
    }

    #[inline]
    fn check_can_begin(&self) -> Result<(), SendError> {
        if self.state != CloseState::Open {
            return Err(SendError::Closed);
        }
        if self.sending.is_some() {
            return Err(SendError::MessageInProgress);
        }
        Ok(())
    }

    /// What was agreed on compression, if a message of this length is to be compressed.
    fn compression(&self, compress: Compress, length: usize) -> Option<DeflateParams> {
        let agreed = self.deflate?;
        let wanted = match compress {
            Compress::Auto => length >= self.config.deflate.threshold(),
            Compress::Always => true,
            Compress::Never => false,
        };
        // No compressor here works with a window of 8 bits. Not to compress is always allowed (RFC 7692 §6).
        (wanted && agreed.own_window_bits(self.role) > 8).then_some(agreed)
    }

    #[inline(never)]
    fn append_compressible(&mut self, opcode: Opcode, payload: &[u8], compress: Compress, out: &mut Vec<u8>) {
        let Some(agreed) = self.compression(compress, payload.len()) else {
            self.append_frame(opcode, payload, out);
            return;
        };
        if agreed.own_context_takeover(self.role) {
            // What a window that lasts has seen, the peer's must see too: it is sent as it came out.
            let mut deflater = self.take_deflater(agreed);
            let body = deflater.compress(payload, true);
            self.append(true, true, opcode, body, out);
            self.put_deflater(deflater, true);
            return;
        }
        let mut encoder = deflate::take_encoder(agreed, self.role, &self.config.deflate);
        let body = encoder.compress(payload);
        if compress == Compress::Auto && body.len() >= payload.len() {
            self.append_frame(opcode, payload, out);
        } else {
            self.append(true, true, opcode, body, out);
        }
        deflate::put_encoder(encoder);
    }

    fn take_deflater(&mut self, agreed: DeflateParams) -> Box<Deflater> {
        let own = self.extra.as_mut().and_then(|extra| extra.deflater.take());
        own.unwrap_or_else(|| deflate::take_deflater(agreed, self.role, &self.config.deflate))
    }

    /// Keeps the compressor while its window is of use, and gives it back otherwise.
    fn put_deflater(&mut self, mut deflater: Box<Deflater>, message_ended: bool) {
        deflater.shrink();
        let takeover = self
            .deflate
            .is_some_and(|agreed| agreed.own_context_takeover(self.role));
        if !message_ended || takeover {
            self.extra().deflater = Some(deflater);
        } else {
            deflate::put_deflater(deflater);
            self.drop_empty_extra();
        }
    }
}
