//! A message encoded once for many connections.

use alloc::vec::Vec;

use bytes::Bytes;

use crate::frame::FrameHeader;
use crate::message::{Message, MessageKind, Payload};

/// A message that is sent to many: its frame is encoded once, and compressed once.
///
/// It holds the frame as a server sends it, and on request one compressed form that refers to no earlier message and
/// so suits every connection whose window is large enough. Cloning is cheap: clones share the bytes. A client can send
/// it too, but masks a copy for each connection (RFC 6455 §5.3).
///
/// ```
/// use std::sync::Arc;
/// use sockeye_proto::connection::{Config, Connection, Role};
/// use sockeye_proto::prepared::Prepared;
///
/// let tick = Prepared::new("99.5");
/// let config = Arc::new(Config::new(|bytes| bytes.fill(0)));
/// let mut subscribers = [(); 3].map(|()| Connection::new(Role::Server, config.clone()));
/// for subscriber in &mut subscribers {
///     let mut output = Vec::new();
///     subscriber.send_prepared(&tick, &mut output)?;
///     assert_eq!(output, b"\x81\x0499.5");
/// }
/// # Ok::<(), sockeye_proto::error::SendError>(())
/// ```
#[derive(Debug, Clone)]
pub struct Prepared {
    kind: MessageKind,
    frame: Bytes,
    header_length: usize,
    #[cfg(feature = "deflate")]
    compressed: Option<Compressed>,
}

/// The compressed frame, and the window that it takes to inflate it.
#[cfg(feature = "deflate")]
#[derive(Debug, Clone)]
struct Compressed {
    frame: Bytes,
    header_length: usize,
    window_bits: u8,
}

impl Prepared {
    /// Encodes `payload`, uncompressed.
    #[must_use]
    pub fn new<'a>(payload: impl Into<Payload<'a>>) -> Self {
        let payload = payload.into();
        let bytes = payload.as_bytes();
        let (frame, header_length) = encode(payload.kind(), false, bytes);
        Self {
            kind: payload.kind(),
            frame,
            header_length,
            #[cfg(feature = "deflate")]
            compressed: None,
        }
    }

    /// Adds the compressed form, unless it is not shorter. Connections that did not negotiate permessage-deflate, or
    /// agreed on a smaller window than these options have, get the plain form.
    #[cfg(feature = "deflate")]
    #[must_use]
    pub fn with_compression(mut self, options: &crate::deflate::DeflateOptions) -> Self {
        let window_bits = options.own_max_window_bits();
        let mut encoder = crate::deflate::take_shared_encoder(options);
        let body = encoder.compress(self.payload());
        if body.len() < self.payload().len() {
            let (frame, header_length) = encode(self.kind, true, body);
            self.compressed = Some(Compressed {
                frame,
                header_length,
                window_bits,
            });
        }
        crate::deflate::put_encoder(encoder);
        self
    }

    /// Text or binary.
    #[must_use]
    pub fn kind(&self) -> MessageKind {
        self.kind
    }

    /// The message's payload.
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        &self.frame[self.header_length..]
    }

    /// The whole frame as a server sends it.
    #[must_use]
    pub fn plain_frame(&self) -> &Bytes {
        &self.frame
    }

    /// The frame as a server sends it on a connection whose own window has this many bits; 0: no compression was agreed.
    ///
    /// [`Connection::shared_window`](crate::connection::Connection::shared_window) tells how many, and whether it may be sent.
    #[must_use]
    pub fn shared_frame(&self, window_bits: u8) -> &Bytes {
        #[cfg(feature = "deflate")]
        if let Some(compressed) = self.compressed_for(window_bits) {
            return &compressed.frame;
        }
        let _ = window_bits;
        &self.frame
    }

    /// The compressed payload, for a connection whose own window has this many bits.
    pub(crate) fn compressed(&self, window_bits: u8) -> Option<&[u8]> {
        #[cfg(feature = "deflate")]
        if let Some(compressed) = self.compressed_for(window_bits) {
            return Some(&compressed.frame[compressed.header_length..]);
        }
        let _ = window_bits;
        None
    }

    #[cfg(feature = "deflate")]
    fn compressed_for(&self, window_bits: u8) -> Option<&Compressed> {
        let compressed = self.compressed.as_ref()?;
        (compressed.window_bits <= window_bits).then_some(compressed)
    }
}

/// A server's frame, and the length of its header.
fn encode(kind: MessageKind, rsv1: bool, payload: &[u8]) -> (Bytes, usize) {
    let header = FrameHeader {
        fin: true,
        rsv1,
        opcode: kind.opcode(),
        masking_key: None,
        payload_length: payload.len() as u64,
    };
    let mut frame = Vec::with_capacity(FrameHeader::MAX_LENGTH + payload.len());
    header.encode(&mut frame);
    let header_length = frame.len();
    frame.extend_from_slice(payload);
    (frame.into(), header_length)
}

impl From<&Message> for Prepared {
    fn from(message: &Message) -> Self {
        Self::new(message)
    }
}
