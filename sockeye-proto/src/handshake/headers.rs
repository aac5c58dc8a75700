//! Header fields in the order in which they came (RFC 9110 §5).

use alloc::vec::Vec;
use core::fmt;

use super::error::HeaderError;
use crate::token;

/// An ordered list of header fields, in which a name may repeat. Names are compared without regard to case.
///
/// Whatever is in it is valid: a name is a token, a value has no CR, LF, NUL or other control character. `Debug`
/// hides the values that are credentials.
///
/// It is kept as HTTP/1.1 writes it, in one allocation: a connection holds its headers for as long as it lives.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Headers {
    lines: Vec<u8>,
}

impl Headers {
    /// No fields, no allocation.
    #[must_use]
    pub const fn new() -> Self {
        Self { lines: Vec::new() }
    }

    /// Adds a field at the end. Whitespace around the value is dropped.
    ///
    /// # Errors
    ///
    /// [`HeaderError::Name`] or [`HeaderError::Value`]; nothing is added then.
    pub fn append(&mut self, name: &str, value: impl AsRef<[u8]>) -> Result<(), HeaderError> {
        let value = token::trim(value.as_ref());
        if !token::is_token(name.as_bytes()) {
            return Err(HeaderError::Name);
        }
        if !value.iter().all(|&byte| is_value_byte(byte)) {
            return Err(HeaderError::Value);
        }
        self.push(name.as_bytes(), value);
        Ok(())
    }

    /// Removes every field of the name and adds this one at the end.
    ///
    /// # Errors
    ///
    /// As [`append`](Self::append); nothing is removed then.
    pub fn set(&mut self, name: &str, value: impl AsRef<[u8]>) -> Result<(), HeaderError> {
        let mut field = Self::new();
        field.append(name, value)?;
        self.remove(name);
        self.extend(&field);
        Ok(())
    }

    /// Removes every field of the name.
    pub fn remove(&mut self, name: &str) {
        if self.contains(name) {
            let mut kept = Self::new();
            for (other, value) in self.iter().filter(|(other, _)| !other.eq_ignore_ascii_case(name)) {
                kept.push(other.as_bytes(), value);
            }
            *self = kept;
        }
    }

    /// Adds all fields of `other` at the end.
    pub fn extend(&mut self, other: &Self) {
        for (name, value) in other.iter() {
            self.push(name.as_bytes(), value);
        }
    }

    /// The value of the first field of the name.
    #[must_use]
    pub fn value(&self, name: &str) -> Option<&[u8]> {
        self.values(name).next()
    }

    /// The value of the first field of the name, if it is text.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&str> {
        self.value(name).and_then(|value| core::str::from_utf8(value).ok())
    }

    /// The values of all fields of the name, in order.
    pub fn values<'a, 'n>(&'a self, name: &'n str) -> impl Iterator<Item = &'a [u8]> + use<'a, 'n> {
        self.iter()
            .filter(move |(other, _)| other.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
    }

    /// Whether there is a field of the name.
    #[must_use]
    pub fn contains(&self, name: &str) -> bool {
        self.values(name).next().is_some()
    }

    /// All fields in order, names spelled as they came.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[u8])> {
        let mut rest = &self.lines[..];
        core::iter::from_fn(move || {
            // A name has no colon, and a value no CR.
            let name_end = rest.iter().position(|&byte| byte == b':')?;
            let value_end = rest.iter().position(|&byte| byte == b'\r')?;
            let (name, value) = (rest.get(..name_end)?, rest.get(name_end + 2..value_end)?);
            rest = rest.get(value_end + 2..)?;
            // A token is ASCII.
            Some((core::str::from_utf8(name).unwrap_or_default(), value))
        })
    }

    /// The number of fields.
    #[must_use]
    pub fn len(&self) -> usize {
        self.iter().count()
    }

    /// Whether there is no field.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// The value of the only field of the name.
    pub(super) fn only(&self, name: &str) -> Only<'_> {
        let mut found = Only::Missing;
        for (_, value) in self.iter().filter(|(other, _)| other.eq_ignore_ascii_case(name)) {
            found = match found {
                Only::Missing => Only::One(value),
                _ => return Only::Repeated,
            };
        }
        found
    }

    /// Adds a field that the application asks for beside those of the handshake.
    pub(super) fn append_extra(&mut self, name: &str, value: &[u8]) -> Result<(), HeaderError> {
        if is_reserved(name) {
            return Err(HeaderError::Reserved);
        }
        self.append(name, value)
    }

    /// Appends the fields to a head, a line each.
    pub(super) fn write_http1(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.lines);
    }

    /// An empty list with room for fields whose names and values have `bytes` bytes.
    pub(super) fn with_capacity(bytes: usize, fields: usize) -> Self {
        Self {
            lines: Vec::with_capacity(bytes + b": \r\n".len() * fields),
        }
    }

    /// Adds a field whose name and value are known to be valid.
    pub(super) fn push(&mut self, name: &[u8], value: &[u8]) {
        self.lines.extend_from_slice(name);
        self.lines.extend_from_slice(b": ");
        self.lines.extend_from_slice(value);
        self.lines.extend_from_slice(b"\r\n");
    }
}

impl fmt::Debug for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map()
            .entries(self.iter().map(|(name, value)| {
                let secret = CREDENTIALS.iter().any(|secret| name.eq_ignore_ascii_case(secret));
                (
                    name,
                    if secret {
                        "…".into()
                    } else {
                        alloc::string::String::from_utf8_lossy(value)
                    },
                )
            }))
            .finish()
    }
}

/// A field that must not repeat.
pub(super) enum Only<'a> {
    Missing,
    One(&'a [u8]),
    Repeated,
}

/// RFC 9110 §5.5: visible characters, space, tab and what is beyond ASCII. "Field values containing CR, LF, or NUL
/// characters are invalid and dangerous".
pub(super) const fn is_value_byte(byte: u8) -> bool {
    matches!(byte, b'\t' | b' '..=b'~' | 0x80..=0xff)
}

/// Whether the handshake itself, or the framing of the message that carries it, owns a header of this name.
fn is_reserved(name: &str) -> bool {
    const OWN: [&str; 6] = [
        "Host",
        "Upgrade",
        "Connection",
        "Content-Length",
        "Transfer-Encoding",
        "Trailer",
    ];
    const PREFIX: &str = "Sec-WebSocket-";
    OWN.iter().any(|own| name.eq_ignore_ascii_case(own))
        || name
            .get(..PREFIX.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(PREFIX))
}

/// Headers that hold credentials: not printed, not carried along to another origin.
pub(super) const CREDENTIALS: [&str; 4] = ["Authorization", "Cookie", "Proxy-Authorization", "Set-Cookie"];
