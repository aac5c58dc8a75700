//! Whole text in a buffer that can be shared.
//!
//! What is trusted here is the check in `utf8::validator`, and the type of a `str`.

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

use crate::utf8::validator::{Utf8Error, check};

/// Text in a shared, immutable buffer: [`Bytes`] that always are valid UTF-8.
///
/// A clone or a [`slice`](Self::slice) shares the buffer and copies nothing. It dereferences to [`str`](prim@str) at no cost.
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
    /// Valid UTF-8: every constructor has checked it, was given a `str`, or is unsafe.
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

    /// Text that was validated before.
    ///
    /// # Safety
    ///
    /// `bytes` must be valid UTF-8.
    pub(super) unsafe fn from_utf8_unchecked(bytes: Bytes) -> Self {
        debug_assert!(check(&bytes).is_ok());
        Self { bytes }
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
            bytes: Bytes::from(alloc::boxed::Box::<[u8]>::from(text.as_bytes())),
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
    #[inline]
    fn try_from(bytes: Vec<u8>) -> Result<Self, Utf8Error> {
        check(&bytes)?;
        Ok(Self {
            bytes: Bytes::from(bytes.into_boxed_slice()),
        })
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

#[cfg(all(test, feature = "std"))]
mod tests {
    use alloc::{borrow::ToOwned, collections::BTreeMap, format, string::ToString, vec};
    use core::hash::BuildHasher;
    use std::collections::HashMap;

    use super::*;

    const TEXT: &str = "aö→🐟";

    #[test]
    fn f10_bytes_become_text_only_if_they_are_utf_8() {
        assert_eq!(Utf8Bytes::try_from(TEXT.as_bytes().to_vec()).unwrap(), TEXT);
        assert_eq!(Utf8Bytes::try_from(Bytes::from_static(TEXT.as_bytes())).unwrap(), TEXT);
        let bad: [(&[u8], usize); 6] = [
            (b"\xff", 0),
            (b"a\xc3", 1),
            (b"ab\xed\xa0\x80", 2),
            (b"\xc0\x80", 0),
            (b"\xf4\x90\x80\x80", 0),
            (b"\xc3\xb6\x80", 2),
        ];
        for (bytes, valid_up_to) in bad {
            let error = Err(Utf8Error { valid_up_to });
            assert_eq!(Utf8Bytes::try_from(bytes.to_vec()), error);
            assert_eq!(Utf8Bytes::try_from(Bytes::from_static(bytes)), error);
        }
    }

    #[test]
    fn slice_keeps_to_code_points_and_never_panics() {
        let text = Utf8Bytes::from(TEXT);
        let edges = 0..TEXT.len() + 3;
        for (start, end) in edges
            .clone()
            .flat_map(|start| edges.clone().map(move |end| (start, end)))
        {
            let expected = TEXT.get(start..end);
            assert_eq!(text.slice(start..end).as_deref(), expected, "{start}..{end}");
            if let Some(last) = end.checked_sub(1) {
                assert_eq!(text.slice(start..=last).as_deref(), TEXT.get(start..=last));
            }
        }
        assert_eq!(text.slice(..).unwrap(), TEXT);
        assert_eq!(text.slice(..=usize::MAX), None);
        let part = text.slice(1..3).unwrap();
        assert_eq!(part.as_bytes().as_ptr(), text.as_bytes()[1..].as_ptr());
    }

    #[test]
    fn conversions_take_the_buffer_over() {
        let string = TEXT.to_owned();
        let buffer = string.as_ptr();
        let text = Utf8Bytes::from(string);
        assert_eq!(text.as_ptr(), buffer);
        let clone = text.clone();
        assert_eq!(clone.as_ptr(), buffer);
        let copied = String::from(clone);
        assert_ne!(copied.as_ptr(), buffer);
        let string = String::from(text);
        assert_eq!((string.as_str(), string.as_ptr()), (TEXT, buffer));
        let bytes = Bytes::from(Utf8Bytes::from(string));
        assert_eq!(bytes.as_ptr(), buffer);
        assert_eq!(Utf8Bytes::try_from(bytes).unwrap().into_bytes().as_ptr(), buffer);
    }

    #[test]
    fn compares_orders_hashes_and_prints_as_a_str() {
        let text = Utf8Bytes::from_static(TEXT);
        let string = TEXT.to_owned();
        assert!(text == *TEXT && text == TEXT && text == string);
        assert!(*TEXT == text && TEXT == text && string == text);
        assert!(text != Utf8Bytes::default() && Utf8Bytes::default() < text);
        assert_eq!(text.to_string(), TEXT);
        assert_eq!(format!("{text:?} {text:>6}"), format!("{TEXT:?} {TEXT:>6}"));
        let map = HashMap::from([(text.clone(), 1)]);
        assert_eq!(map.get(TEXT), Some(&1));
        assert_eq!(map.hasher().hash_one(&text), map.hasher().hash_one(TEXT));
        assert_eq!(BTreeMap::from([(text, 2)]).get(TEXT), Some(&2));
        assert_eq!(AsRef::<[u8]>::as_ref(&Utf8Bytes::from("é")), vec![0xc3, 0xa9]);
        assert_eq!(AsRef::<str>::as_ref(&Utf8Bytes::from("é")), "é");
    }
}
