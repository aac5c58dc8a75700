//! Text (RFC 6455 §8.1): an incremental validator that fails at the first bad byte, and bytes that always are UTF-8.
//!
//! [`Validator`] judges chunks as they arrive and keeps none; [`Utf8Bytes`] is text by its type. Neither knows of
//! messages: that a text message may not end within a code point is for its assembler to ask.

pub(crate) mod validator;

pub use self::validator::{Utf8Error, Validator};
pub use crate::simd::text::Utf8Bytes;
