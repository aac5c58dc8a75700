//! Text whose validity its type remembers, so that no byte is validated twice.
//!
//! `Utf8Bytes` is whole text, `TextPacket` that of a message, `TextBuffer` text that is still arriving. Every conversion that trusts an earlier check
//! is here; the check itself is `utf8::validator`, safe code that these blocks rely on.

mod buffer;
mod text_packet;
mod utf8_bytes;

pub(crate) use self::buffer::TextBuffer;
pub(crate) use self::text_packet::TextPacket;
pub use self::utf8_bytes::Utf8Bytes;
