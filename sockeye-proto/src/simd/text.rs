//! Text whose validity its type remembers, so that no byte is validated twice.
//!
//! [`Utf8Bytes`] is whole text, [`TextBuffer`] text that is still arriving. This file holds every conversion that
//! trusts an earlier check; the check itself is `utf8::validator`, safe code that these blocks rely on. Binary data
//! has no place here: it is gathered in a plain `Vec<u8>`.

use alloc::{string::String, vec::Vec};
use core::{
    borrow::Borrow,
    cmp::Ordering,
    fmt,
    hash::{Hash, Hasher},
    ops::{Deref, RangeBounds},
    str,
};

use bytes::Bytes;

use crate::utf8::validator::{Utf8Error, Validator, check};

/// Text in a shared, immutable buffer: [`Bytes`] that always are valid UTF-8.
///
/// A clone or a [`slice`](Self::slice) shares the buffer and copies nothing. It dereferences to [`str`] at no cost.
///
/// # Examples
///
/// ```
/// use bytes::Bytes;
/// use sockeye_proto::utf8::Utf8Bytes;
///
/// let text = Utf8Bytes::try_from(Bytes::from_static("Fraser → Pacific".as_bytes()))?;
/// assert_eq!(text.slice(..6).unwrap(), "Fraser");
/// assert!(text.slice(..8).is_none()); // within "→"
/// assert!(Utf8Bytes::try_from(Bytes::from_static(b"\xff")).is_err());
/// # Ok::<(), sockeye_proto::utf8::Utf8Error>(())
/// ```
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Utf8Bytes {
    /// Valid UTF-8: every constructor has checked it, or was given a `str`.
    bytes: Bytes,
}

impl Utf8Bytes {
    /// Text that lives as long as the program; nothing is allocated.
    #[must_use]
    pub const fn from_static(text: &'static str) -> Self {
        Self {
            bytes: Bytes::from_static(text.as_bytes()),
        }
    }

    /// The text.
    #[inline]
    #[must_use]
    pub fn as_str(&self) -> &str {
        // SAFETY: `bytes` is private and immutable, and each constructor fills it with valid UTF-8 only.
        unsafe { str::from_utf8_unchecked(&self.bytes) }
    }

    /// The text's bytes.
    #[inline]
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The buffer itself, without a copy.
    #[inline]
    #[must_use]
    pub fn into_bytes(self) -> Bytes {
        self.bytes
    }

    /// A part of the text, in bytes, that shares its buffer; `None` if `range` lies outside the text, is inverted, or
    /// cuts a code point.
    #[must_use]
    pub fn slice(&self, range: impl RangeBounds<usize>) -> Option<Self> {
        let part = self
            .as_str()
            .get((range.start_bound().cloned(), range.end_bound().cloned()))?;
        Some(Self {
            bytes: self.bytes.slice_ref(part.as_bytes()),
        })
    }
}

impl From<String> for Utf8Bytes {
    /// Takes the string's buffer over, without a copy.
    fn from(text: String) -> Self {
        Self {
            bytes: Bytes::from(text),
        }
    }
}

impl From<&str> for Utf8Bytes {
    /// Copies the text; [`Utf8Bytes::from_static`] does not.
    fn from(text: &str) -> Self {
        Self {
            bytes: Bytes::copy_from_slice(text.as_bytes()),
        }
    }
}

impl TryFrom<Bytes> for Utf8Bytes {
    type Error = Utf8Error;

    /// Validates in one pass and takes the buffer over, without a copy.
    fn try_from(bytes: Bytes) -> Result<Self, Utf8Error> {
        check(&bytes)?;
        Ok(Self { bytes })
    }
}

impl TryFrom<Vec<u8>> for Utf8Bytes {
    type Error = Utf8Error;

    /// Validates in one pass and takes the buffer over, without a copy.
    fn try_from(bytes: Vec<u8>) -> Result<Self, Utf8Error> {
        Self::try_from(Bytes::from(bytes))
    }
}

impl From<Utf8Bytes> for Bytes {
    fn from(text: Utf8Bytes) -> Self {
        text.bytes
    }
}

impl From<Utf8Bytes> for String {
    /// Reuses the buffer if nothing else shares it, and copies it otherwise.
    fn from(text: Utf8Bytes) -> Self {
        // SAFETY: the bytes of a `Utf8Bytes` are valid UTF-8, and the conversion to `Vec` keeps them.
        unsafe { String::from_utf8_unchecked(Vec::from(text.bytes)) }
    }
}

impl Deref for Utf8Bytes {
    type Target = str;

    #[inline]
    fn deref(&self) -> &str {
        self.as_str()
    }
}

impl AsRef<str> for Utf8Bytes {
    fn as_ref(&self) -> &str {
        self.as_str()
    }
}

impl AsRef<[u8]> for Utf8Bytes {
    fn as_ref(&self) -> &[u8] {
        self.as_bytes()
    }
}

impl Borrow<str> for Utf8Bytes {
    fn borrow(&self) -> &str {
        self.as_str()
    }
}

impl Hash for Utf8Bytes {
    // `Borrow<str>` promises the hash of the `str`, which differs from that of the bytes.
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_str().hash(state);
    }
}

impl PartialOrd for Utf8Bytes {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Utf8Bytes {
    fn cmp(&self, other: &Self) -> Ordering {
        self.as_str().cmp(other.as_str())
    }
}

impl PartialEq<str> for Utf8Bytes {
    fn eq(&self, other: &str) -> bool {
        self.as_str() == other
    }
}

impl PartialEq<&str> for Utf8Bytes {
    fn eq(&self, other: &&str) -> bool {
        self.as_str() == *other
    }
}

impl PartialEq<String> for Utf8Bytes {
    fn eq(&self, other: &String) -> bool {
        self.as_str() == other
    }
}

impl PartialEq<Utf8Bytes> for str {
    fn eq(&self, other: &Utf8Bytes) -> bool {
        self == other.as_str()
    }
}

impl PartialEq<Utf8Bytes> for &str {
    fn eq(&self, other: &Utf8Bytes) -> bool {
        *self == other.as_str()
    }
}

impl PartialEq<Utf8Bytes> for String {
    fn eq(&self, other: &Utf8Bytes) -> bool {
        self == other.as_str()
    }
}

impl fmt::Display for Utf8Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self.as_str(), f)
    }
}

impl fmt::Debug for Utf8Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

/// Text that arrives in chunks cut anywhere: the fragments of a message, or what inflating it yields.
///
/// Each chunk is validated as it is appended, so that the whole needs no second pass. It grows as a `Vec` grows
/// unless [`reserve`](Self::reserve) is called before each push: limits are the caller's.
#[derive(Clone, Debug, Default)]
pub(crate) struct TextBuffer {
    /// What was pushed, in order: all of it went through `validator`, and nothing was removed but by `clear`.
    bytes: Vec<u8>,
    /// Stands after the last of `bytes`.
    validator: Validator,
}

#[allow(dead_code, reason = "the message assembler chooses what it needs")]
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

    /// Whether nothing was pushed.
    pub(crate) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Bytes that the buffer holds without growing.
    pub(crate) fn capacity(&self) -> usize {
        self.bytes.capacity()
    }

    /// Makes room for exactly `additional` bytes after those that are there.
    pub(crate) fn reserve(&mut self, additional: usize) {
        self.bytes.reserve_exact(additional);
    }

    /// Forgets the text and keeps the memory.
    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
        self.validator = Validator::default();
    }

    /// The text; `None` while it ends within a code point.
    pub(crate) fn as_str(&self) -> Option<&str> {
        if !self.is_complete() {
            return None;
        }
        // SAFETY: `push` appends only what the validator has accepted as the continuation of all before it, and the
        // validator says that the last code point is whole.
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
        // As `as_str`: all of it was validated on its way in.
        Ok(Utf8Bytes {
            bytes: Bytes::from(self.bytes),
        })
    }
}
