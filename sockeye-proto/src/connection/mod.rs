//! The state machine of an open connection (RFC 6455 §5–§7), for both roles and without I/O.
//!
//! It reads frames out of bytes that the caller received, and writes frames into a buffer that the caller sends. It
//! owns no input and no output buffer, so that an idle connection costs its own 72 bytes and nothing else. It knows no
//! handshake: [`handshake`](crate::handshake) ends where this begins.
//!
//! # The run loop
//!
//! One invariant: **what an event does not consume stays at the start of the input**, with what arrives later appended
//! to it.
//!
//! ```
//! use std::sync::Arc;
//! use sockeye_proto::connection::{Config, Connection, Event, Role};
//!
//! # fn read(input: &mut Vec<u8>) -> bool {
//! #     if input.is_empty() {
//! #         input.extend_from_slice(&[0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58]);
//! #         return true;
//! #     }
//! #     false
//! # }
//! # fn write(output: &mut Vec<u8>) { assert_eq!(output, b"\x81\x05Hello"); output.clear(); }
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let config = Arc::new(Config::new(|bytes| bytes.fill(0x2a /* a CSPRNG, in earnest */)));
//! let mut connection = Connection::new(Role::Server, config);
//! let (mut input, mut output) = (Vec::new(), Vec::new());
//! let mut reply = String::new();
//! while read(&mut input) {
//!     let mut start = 0;
//!     loop {
//!         let received = connection.receive(&mut input[start..], &mut output)?;
//!         start += received.consumed;
//!         match received.event {
//!             Some(Event::Text(text)) => reply = text.into(),
//!             Some(_) => continue, // pings were answered, and so was a Close
//!             None => break,       // nothing more can be told from this input
//!         }
//!         connection.send(reply.as_str(), &mut output)?;
//!     }
//!     input.drain(..start);
//!     write(&mut output);
//! #   break;
//! }
//! # Ok(())
//! # }
//! ```

mod payload;
mod receive;
mod send;
mod whole;

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::fmt;

use bytes::Bytes;

use crate::close::{CloseCode, CloseFrame, CloseState};
use crate::deflate::{DeflateOptions, DeflateParams, Deflater, Inflater};
use crate::frame::{ControlPayload, Opcode};
use crate::message::{Assembly, Message, MessageKind};
use crate::utf8::{Utf8Bytes, Validator};

pub use self::receive::Received;
pub use self::send::Compress;

/// Which end of the connection this is. The roles differ in the handshake and in who masks (§5.1), nowhere else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// Masks what it sends.
    Client,
    /// Takes masked frames only.
    Server,
}

/// How data messages are handed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Receive {
    /// Each as a whole: [`Event::Text`] and [`Event::Binary`].
    #[default]
    Messages,
    /// As their bytes arrive, also within one huge frame: [`Event::Chunk`]. Memory stays constant whatever the size, so
    /// that [`Config::max_chunked_size`] and [`Config::max_message_parts`], which hold here, can be as high as is wanted.
    Chunks,
}

/// Limits and options, shared by all the connections that have the same.
#[derive(Clone)]
#[non_exhaustive]
pub struct Config {
    /// The longest message, as sent and as inflated, in bytes. Longer ones fail the connection with 1009. Default 1 MiB,
    /// which is also what a message under way may cost in memory.
    pub max_message_size: u64,
    /// The most frames of one message; more fail the connection with 1008. Default `None`: 1,024, or
    /// `max_message_size` / 256 if that is more.
    pub max_message_parts: Option<u32>,
    /// The longest message that is handed over in chunks, in bytes; longer ones fail the connection with 1009. It takes no
    /// memory. Default `None`: as `max_message_size`.
    pub max_chunked_size: Option<u64>,
    /// Messages, or chunks of them. Default: messages. [`Connection::set_receive`] changes it between messages.
    pub receive: Receive,
    /// How the compressor of permessage-deflate works, where that was negotiated: its level, memory level and threshold.
    /// The rest of these options is for the handshake.
    pub deflate: DeflateOptions,
    /// Fills a slice with unpredictable bytes: a client's masking keys come from here, four bytes a frame.
    ///
    /// §10.3: "Clients MUST choose a new masking key for each frame, using an algorithm that cannot be predicted by end
    /// applications that provide data." Feed it from a cryptographically secure generator.
    pub entropy: fn(&mut [u8]),
}

impl Config {
    /// The defaults, with this source of randomness.
    #[must_use]
    pub fn new(entropy: fn(&mut [u8])) -> Self {
        Self {
            max_message_size: 1 << 20,
            max_message_parts: None,
            max_chunked_size: None,
            receive: Receive::Messages,
            deflate: DeflateOptions::server(),
            entropy,
        }
    }

    /// The most frames of one message that is handed over whole, with the default worked out.
    #[must_use]
    pub fn message_parts(&self) -> u32 {
        self.parts_of(self.max_message_size)
    }

    /// The most frames of one message of at most `size` bytes.
    fn parts_of(&self, size: u64) -> u32 {
        let by_size = u32::try_from(size / 256).unwrap_or(u32::MAX);
        self.max_message_parts.unwrap_or(by_size.max(1024))
    }

    /// The longest message that is received so, in bytes.
    fn size_limit(&self, receive: Receive) -> u64 {
        match receive {
            Receive::Messages => self.max_message_size,
            Receive::Chunks => self.max_chunked_size.unwrap_or(self.max_message_size),
        }
    }
}

/// The most bytes of a compressed message before it is inflated. Deflate makes what it cannot compress slightly longer;
/// more than an eighth is no compressor's work.
fn compressed_size(inflated: u64) -> u64 {
    inflated.saturating_add(inflated / 8 + 1024)
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("max_message_size", &self.max_message_size)
            .field("max_message_parts", &self.message_parts())
            .field("receive", &self.receive)
            .field("deflate", &self.deflate)
            .finish_non_exhaustive()
    }
}

/// What was received.
///
/// Events inform: what a control frame asks for is done by the connection.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
#[repr(usize)]
pub enum Event<B: Buffer> {
    /// A whole text message.
    Text(B::Text),
    /// A whole binary message.
    Binary(B),
    /// A piece of a message, with [`Receive::Chunks`].
    Chunk {
        /// What the message holds. The pieces of a text together are UTF-8; one piece may end inside a code point.
        kind: MessageKind,
        /// The piece; it may be empty.
        data: B,
        /// Whether the message ends with it.
        fin: bool,
    },
    /// A ping. The answer is in the output, or follows when there is room for it; after a Close there is none.
    Ping(B),
    /// A pong, in answer to a ping or unsolicited; the latter has no meaning (§5.5.3).
    Pong(B),
    /// The peer's Close, with its body if it has one. Nothing that follows it is looked at.
    Close(Option<CloseFrame>),
}

impl From<Message> for Event<Bytes> {
    fn from(message: Message) -> Self {
        match message.into_text() {
            Ok(text) => Self::Text(text),
            Err(binary) => Self::Binary(binary.into_bytes()),
        }
    }
}

impl Event<Bytes> {
    /// The whole message, if the event is one.
    #[must_use]
    pub fn into_message(self) -> Option<Message> {
        match self {
            Self::Text(text) => Some(text.into()),
            Self::Binary(bytes) => Some(bytes.into()),
            _ => None,
        }
    }
}

/// The two forms of received data: borrowed (`&[u8]` with `&str`) and owned (`Bytes` with [`Utf8Bytes`]).
pub trait Buffer: sealed::Sealed {
    /// The form of valid text.
    type Text: fmt::Debug + Clone + PartialEq + Eq;
}

impl<'a> Buffer for &'a [u8] {
    type Text = &'a str;
}

impl Buffer for Bytes {
    type Text = Utf8Bytes;
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for &[u8] {}
    impl Sealed for bytes::Bytes {}
}

/// An open connection.
///
/// The methods come in families:
///
/// - **in**: [`receive`](Self::receive) lends what it finds, [`receive_bytes`](Self::receive_bytes) hands it over; use
///   one of them;
/// - **out**: [`send`](Self::send), [`send_with`](Self::send_with),
///   [`send_uncopied`](Self::send_uncopied), [`send_fragment`](Self::send_fragment), [`send_prepared`](Self::send_prepared), [`ping`](Self::ping), [`pong`](Self::pong), [`close`](Self::close): each
///   appends whole frames to the output, or answers an error and appends nothing;
/// - **after a write**: [`resume_output`](Self::resume_output) appends a pong that had to wait;
/// - **questions**: [`state`](Self::state), [`close_sent`](Self::close_sent), [`close_received`](Self::close_received),
///   [`missing`](Self::missing), [`is_sending_fragments`](Self::is_sending_fragments).
///
/// Any order of calls is allowed; what no longer makes sense answers
/// [`SendError::Closed`](crate::error::SendError::Closed) or no event.
///
/// The struct is at most 128 bytes. What a message in progress needs is behind one box, which is freed with it.
pub struct Connection {
    config: Arc<Config>,
    extra: Option<Box<Extra>>,
    /// Payload bytes of the current frame that have not been consumed.
    remaining: u64,
    /// Payload bytes of the current message that its frame headers have declared.
    message_length: u64,
    /// Of `remaining`, the bytes that stand at the start of the caller's input, unmasked and (if text) checked.
    kept: usize,
    /// Frames of the current message.
    parts: u32,
    masking_key: [u8; 4],
    /// Where an uncompressed text stands that is not assembled: one frame, or chunks.
    utf8: Validator,
    deflate: Option<DeflateParams>,
    /// The code of the Close that was sent or received, [`CloseCode::NO_STATUS`] for one without a body, 0 for none.
    close_sent: u16,
    close_received: u16,
    /// Payload bytes of the current frame that have been unmasked, modulo 4.
    phase: u8,
    role: Role,
    state: CloseState,
    expect: Expect,
    /// The message that is being received.
    message: Option<MessageKind>,
    /// Whether the current data frame is the last of its message.
    fin: bool,
    /// Whether the message that is being received is compressed.
    compressed: bool,
    /// How the next message is handed over, and the one that is being received.
    receive: Receive,
    receiving: Receive,
    /// The fragmented message that is being sent, and whether it is compressed.
    sending: Option<MessageKind>,
    sending_compressed: bool,
}

/// What the next bytes of the input are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Expect {
    /// A frame header.
    Header,
    /// The payload of a control frame.
    Control(Opcode),
    /// The payload of a frame that is a message, to be handed over where it stands.
    Whole,
    /// The payload of a frame that is assembled, inflated, or handed over in chunks.
    Part,
    /// Nothing of interest: a Close has come, or the connection has failed.
    Nothing,
}

/// What a connection has while it needs it.
#[derive(Debug, Default)]
struct Extra {
    /// The message of several frames, or inflated, that is being received.
    assembly: Option<Assembly>,
    /// Inflated bytes of the message that is being received, when it is not assembled.
    inflated: u64,
    inflater: Option<Box<Inflater>>,
    deflater: Option<Box<Deflater>>,
    /// The latest ping that could not be answered yet.
    waiting_pong: Option<ControlPayload>,
}

impl Connection {
    /// A connection whose handshake has just ended.
    #[must_use]
    pub fn new(role: Role, config: Arc<Config>) -> Self {
        let receive = config.receive;
        Self {
            config,
            extra: None,
            remaining: 0,
            message_length: 0,
            kept: 0,
            parts: 0,
            masking_key: [0; 4],
            utf8: Validator::default(),
            deflate: None,
            close_sent: 0,
            close_received: 0,
            phase: 0,
            role,
            state: CloseState::Open,
            expect: Expect::Header,
            message: None,
            fin: false,
            compressed: false,
            receive,
            receiving: receive,
            sending: None,
            sending_compressed: false,
        }
    }

    /// The same with what the handshake agreed about permessage-deflate.
    #[must_use]
    pub fn with_deflate(mut self, agreed: Option<DeflateParams>) -> Self {
        self.deflate = agreed;
        self
    }

    /// Which end this is.
    #[must_use]
    pub fn role(&self) -> Role {
        self.role
    }

    /// The limits and options.
    #[must_use]
    pub fn config(&self) -> &Arc<Config> {
        &self.config
    }

    /// What was agreed about permessage-deflate.
    #[must_use]
    pub fn deflate(&self) -> Option<DeflateParams> {
        self.deflate
    }

    /// Where the closing handshake stands.
    #[must_use]
    pub fn state(&self) -> CloseState {
        self.state
    }

    /// The code of the Close that we sent: [`CloseCode::NO_STATUS`] if it had no body, `None` if none was sent.
    #[must_use]
    pub fn close_sent(&self) -> Option<CloseCode> {
        (self.close_sent != 0).then_some(CloseCode::new(self.close_sent))
    }

    /// The code of the Close that the peer sent: [`CloseCode::NO_STATUS`] if it had no body, `None` if none came.
    #[must_use]
    pub fn close_received(&self) -> Option<CloseCode> {
        (self.close_received != 0).then_some(CloseCode::new(self.close_received))
    }

    /// Hands messages over so from now on: whole or in chunks. One that has begun goes on as it began.
    #[inline]
    pub fn set_receive(&mut self, receive: Receive) {
        self.receive = receive;
    }

    /// Whether a message that was begun by [`send_fragment`](Self::send_fragment) has not ended: no other can be sent.
    #[inline]
    #[must_use]
    pub fn is_sending_fragments(&self) -> bool {
        self.sending.is_some()
    }

    /// How many more bytes must be appended to the input before the frame at its start is whole; 0 between frames, inside
    /// a header, and for data that is consumed as it arrives.
    ///
    /// A driver grows its buffer by this much at most, and never at once: the length is only what the peer claims.
    #[inline]
    #[must_use]
    pub fn missing(&self) -> u64 {
        match self.expect {
            Expect::Whole | Expect::Control(_) => self.remaining - self.kept as u64,
            Expect::Header | Expect::Part | Expect::Nothing => 0,
        }
    }

    /// Whether nothing is under way: no frame or message has begun, nothing waits to be sent, and the last event has been
    /// let go of. Without input there is no event then.
    #[inline]
    #[must_use]
    pub fn is_between_messages(&self) -> bool {
        self.expect == Expect::Header && self.message.is_none() && self.extra.is_none()
    }

    /// Releases what can be made anew: the compressor of a connection with context takeover.
    ///
    /// The next message then starts with an empty window, which costs some of its compression and nothing else. To be
    /// called on a connection that has been idle for a while; at the default settings it gives back 379 KiB.
    pub fn release_idle(&mut self) {
        if self.sending.is_some() {
            return;
        }
        if let Some(extra) = &mut self.extra {
            extra.deflater = None;
        }
        self.drop_empty_extra();
    }

    fn extra(&mut self) -> &mut Extra {
        self.extra.get_or_insert_default()
    }

    fn drop_empty_extra(&mut self) {
        let empty = self.extra.as_ref().is_some_and(|extra| {
            extra.assembly.is_none()
                && extra.inflater.is_none()
                && extra.deflater.is_none()
                && extra.waiting_pong.is_none()
        });
        if empty {
            self.extra = None;
        }
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("role", &self.role)
            .field("state", &self.state)
            .field("expect", &self.expect)
            .field("remaining", &self.remaining)
            .field("close_sent", &self.close_sent())
            .field("close_received", &self.close_received())
            .finish_non_exhaustive()
    }
}

const _: () = assert!(size_of::<Connection>() <= 128, "an idle connection is to stay small");
