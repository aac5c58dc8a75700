//! Text whose validity its type remembers, so that no byte is validated twice.
//!
//! `Utf8Bytes` is whole text, `TextBuffer` text that is still arriving. Every conversion that trusts an earlier check
//! is here; the check itself is `utf8::validator`, safe code that these blocks rely on.

mod buffer;
mod utf8_bytes;

pub(crate) use self::buffer::TextBuffer;
pub use self::utf8_bytes::Utf8Bytes;
