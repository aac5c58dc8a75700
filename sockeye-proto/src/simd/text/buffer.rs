//! Text that is still arriving: the fragments of a message (RFC 6455 §5.4), or what inflating it yields.
//!
//! What is trusted here is `utf8::validator`. Binary data has no place in it: a plain `Vec<u8>` gathers that.

use alloc::vec::Vec;
use core::str;

use bytes::Bytes;

use super::utf8_bytes::Utf8Bytes;
use crate::utf8::validator::{Utf8Error, Validator};

/// A buffer to which text is appended in chunks cut anywhere.
///
/// Each chunk is validated as it comes, so that the whole needs no second pass. It grows as a `Vec` grows unless
/// [`reserve`](Self::reserve) is called before a push: limits are the caller's.
#[derive(Clone, Debug, Default)]
pub(crate) struct TextBuffer {
    /// What was pushed, in order: all of it went through `validator`, and nothing is removed.
    bytes: Vec<u8>,
    /// Stands after the last of `bytes`.
    validator: Validator,
}

impl TextBuffer {
    /// Appends `chunk`.
    ///
    /// # Errors
    ///
    /// [`Utf8Error`], relative to `chunk`, at the first bad byte. Then nothing was appended.
    pub(crate) fn push(&mut self, chunk: &[u8]) -> Result<(), Utf8Error> {
        let mut validator = self.validator;
        validator.push(chunk)?;
        self.bytes.extend_from_slice(chunk);
        // Last, so that the two agree even if growing panics.
        self.validator = validator;
        Ok(())
    }

    /// Whether the text ends with a whole code point.
    pub(crate) fn is_complete(&self) -> bool {
        self.validator.is_complete()
    }

    /// Bytes of text, those of an incomplete code point included.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Bytes that the buffer holds without growing.
    pub(crate) fn capacity(&self) -> usize {
        self.bytes.capacity()
    }

    /// Makes room for exactly `additional` bytes after those that are there.
    pub(crate) fn reserve(&mut self, additional: usize) {
        self.bytes.reserve_exact(additional);
    }

    /// The text; `None` while it ends within a code point.
    pub(crate) fn as_str(&self) -> Option<&str> {
        if !self.is_complete() {
            return None;
        }
        // SAFETY: `push` appends only what the validator has accepted after all that was there, and the validator
        // says that the last code point is whole.
        Some(unsafe { str::from_utf8_unchecked(&self.bytes) })
    }

    /// The text, without a copy.
    ///
    /// # Errors
    ///
    /// [`Utf8Error`], relative to the whole text, if it ends within a code point.
    pub(crate) fn into_utf8_bytes(self) -> Result<Utf8Bytes, Utf8Error> {
        if !self.is_complete() {
            return Err(Utf8Error {
                valid_up_to: self.len() - self.validator.pending(),
            });
        }
        // SAFETY: as in `as_str`, all bytes were validated in order and the last code point is whole.
        Ok(unsafe { Utf8Bytes::from_utf8_unchecked(Bytes::from(self.bytes)) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "aö→🐟z";

    #[test]
    fn f10_code_points_split_at_every_boundary_are_joined() {
        for first in 0..=TEXT.len() {
            for second in first..=TEXT.len() {
                let mut buffer = TextBuffer::default();
                let mut end = 0;
                for cut in [first, second, TEXT.len()] {
                    buffer.push(&TEXT.as_bytes()[end..cut]).unwrap();
                    end = cut;
                    assert_eq!(buffer.as_str(), TEXT.get(..cut));
                    assert_eq!(buffer.len(), cut);
                    let whole = TEXT.floor_char_boundary(cut);
                    match buffer.clone().into_utf8_bytes() {
                        Ok(text) => assert_eq!(text, TEXT[..cut]),
                        Err(error) => assert_eq!(error.valid_up_to, whole),
                    }
                    assert_eq!(buffer.is_complete(), whole == cut);
                }
            }
        }
    }

    #[test]
    fn f10_a_bad_chunk_leaves_the_buffer_as_it_was() {
        let mut buffer = TextBuffer::default();
        buffer.push(b"a\xe2\x86").unwrap();
        assert_eq!(buffer.push(b"\x92b\xff"), Err(Utf8Error { valid_up_to: 2 }));
        assert_eq!(buffer.push(b"b"), Err(Utf8Error { valid_up_to: 0 }));
        assert_eq!((buffer.len(), buffer.as_str()), (3, None));
        buffer.push(b"\x92").unwrap();
        assert_eq!(buffer.as_str(), Some("a→"));
    }

    #[test]
    fn reserve_makes_room_and_no_more() {
        let mut buffer = TextBuffer::default();
        assert_eq!(buffer.capacity(), 0);
        buffer.reserve(100);
        assert_eq!(buffer.capacity(), 100);
        buffer.push(&[b'x'; 100]).unwrap();
        assert_eq!(buffer.capacity(), 100);
    }

    #[test]
    fn the_text_is_handed_over_without_a_copy() {
        let mut buffer = TextBuffer::default();
        buffer.push(TEXT.as_bytes()).unwrap();
        let start = buffer.as_str().unwrap().as_ptr();
        assert_eq!(buffer.into_utf8_bytes().unwrap().as_ptr(), start);
    }
}
