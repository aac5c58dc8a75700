//! The incremental UTF-8 validator (RFC 6455 §8.1, RFC 3629 §4).

use core::fmt;

/// Validates UTF-8 that arrives in chunks cut anywhere, and keeps none of it.
///
/// > When an endpoint is to interpret a byte stream as UTF-8 but finds that the byte stream is not, in fact, a valid
/// > UTF-8 stream, that endpoint MUST _Fail the WebSocket Connection_.
/// >
/// > RFC 6455 §8.1
///
/// It fails at the first bad byte, without waiting for the sequence to end: `F4 90`, `ED A0`, `E0 80` and `C0` can
/// never become a code point, whatever follows. A message whose last chunk has been pushed is text when
/// [`is_complete`](Self::is_complete) holds too.
///
/// Its state is 4 bytes. Every byte is looked at once.
///
/// # Examples
///
/// ```
/// use sockeye_proto::utf8::Validator;
///
/// let mut validator = Validator::default();
/// validator.push(b"salm\xc3")?; // "ö" is C3 B6
/// assert!(!validator.is_complete());
/// validator.push(b"\xb6n")?;
/// assert!(validator.is_complete());
/// # Ok::<(), sockeye_proto::utf8::Utf8Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Validator {
    /// Bytes seen of a code point that is not complete: 0 to 3.
    seen: u8,
    /// Bytes that this code point still needs: 0 to 3, and 0 exactly when `seen` is.
    needed: u8,
    /// The least value the next byte may have, while `needed` is not 0.
    lower: u8,
    /// The greatest value the next byte may have, while `needed` is not 0.
    upper: u8,
}

impl Validator {
    /// Validates the next `bytes` of the text.
    ///
    /// # Errors
    ///
    /// [`Utf8Error`] as soon as a byte makes it impossible that the text is UTF-8. The validator then stands where it
    /// stood before the call.
    pub fn push(&mut self, bytes: &[u8]) -> Result<(), Utf8Error> {
        let mut next = *self;
        let mut valid_up_to = 0;
        if !next.is_complete() {
            valid_up_to = next.resume(bytes)?;
            if !next.is_complete() {
                *self = next;
                return Ok(());
            }
        }
        let rest = &bytes[valid_up_to..];
        let (whole, tail) = rest.split_at(rest.len() - incomplete_tail(rest));
        check(whole).map_err(|error| Utf8Error {
            valid_up_to: valid_up_to + error.valid_up_to,
        })?;
        valid_up_to += whole.len();
        for &byte in tail {
            next.step(byte).ok_or(Utf8Error { valid_up_to })?;
        }
        *self = next;
        Ok(())
    }

    /// Whether the text so far ends with a whole code point. Text of no bytes is complete.
    #[must_use]
    pub const fn is_complete(&self) -> bool {
        self.needed == 0
    }

    /// How many bytes at the end of the text so far begin a code point that is not complete: 0 to 3.
    #[must_use]
    pub const fn pending(&self) -> usize {
        self.seen as usize
    }

    /// Feeds `bytes` until the code point that an earlier chunk began is complete, and says how many that took.
    fn resume(&mut self, bytes: &[u8]) -> Result<usize, Utf8Error> {
        for (index, &byte) in bytes.iter().enumerate() {
            self.step(byte).ok_or(Utf8Error { valid_up_to: 0 })?;
            if self.is_complete() {
                return Ok(index + 1);
            }
        }
        Ok(bytes.len())
    }

    /// Feeds one byte; `None` if no continuation can make the sequence valid.
    fn step(&mut self, byte: u8) -> Option<()> {
        if self.needed == 0 {
            *self = Self::begin(byte)?;
            return Some(());
        }
        if byte < self.lower || byte > self.upper {
            return None;
        }
        self.needed -= 1;
        self.seen = if self.needed == 0 { 0 } else { self.seen + 1 };
        (self.lower, self.upper) = TAIL;
        Some(())
    }

    /// The state after the first byte of a code point.
    const fn begin(lead: u8) -> Option<Self> {
        // RFC 3629 §4, the grammar of a well-formed sequence:
        //   UTF8-2 = %xC2-DF UTF8-tail
        //   UTF8-3 = %xE0 %xA0-BF UTF8-tail / %xE1-EC 2( UTF8-tail ) /
        //            %xED %x80-9F UTF8-tail / %xEE-EF 2( UTF8-tail )
        //   UTF8-4 = %xF0 %x90-BF 2( UTF8-tail ) / %xF1-F3 3( UTF8-tail ) /
        //            %xF4 %x80-8F 2( UTF8-tail )
        //   UTF8-tail = %x80-BF
        let (needed, (lower, upper)) = match lead {
            0x00..=0x7f => {
                return Some(Self {
                    seen: 0,
                    needed: 0,
                    lower: 0,
                    upper: 0,
                });
            }
            0xc2..=0xdf => (1, TAIL),
            0xe0 => (2, (0xa0, 0xbf)),
            0xe1..=0xec | 0xee..=0xef => (2, TAIL),
            0xed => (2, (0x80, 0x9f)),
            0xf0 => (3, (0x90, 0xbf)),
            0xf1..=0xf3 => (3, TAIL),
            0xf4 => (3, (0x80, 0x8f)),
            _ => return None,
        };
        Some(Self {
            seen: 1,
            needed,
            lower,
            upper,
        })
    }
}

/// UTF8-tail of RFC 3629 §4: what continues a sequence, unless its first byte narrows the second.
const TAIL: (u8, u8) = (0x80, 0xbf);

/// The length of the sequence at the end of `bytes` that wants more bytes than there are: 0 to 3.
fn incomplete_tail(bytes: &[u8]) -> usize {
    for (back, &byte) in bytes.iter().rev().take(3).enumerate() {
        let wanted = match byte {
            0x00..=0x7f => return 0,
            0x80..=0xbf => continue,
            0xc0..=0xdf => 2,
            0xe0..=0xef => 3,
            0xf0..=0xff => 4,
        };
        return if wanted > back + 1 { back + 1 } else { 0 };
    }
    0
}

/// Validates text that is all there, in one pass.
pub(crate) fn check(bytes: &[u8]) -> Result<(), Utf8Error> {
    if simdutf8::basic::from_utf8(bytes).is_ok() {
        return Ok(());
    }
    locate(bytes)
}

/// Finds the place of an error. Bad text ends its connection, so a second pass costs nothing that counts.
#[cold]
fn locate(bytes: &[u8]) -> Result<(), Utf8Error> {
    match core::str::from_utf8(bytes) {
        Ok(_) => Ok(()),
        Err(error) => Err(Utf8Error {
            valid_up_to: error.valid_up_to(),
        }),
    }
}

/// The bytes are not UTF-8.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Utf8Error {
    /// How many bytes at the start of the chunk, or of the whole if there were no chunks, end a code point that is
    /// valid. What follows them is bad. It is 0 if the bad sequence began in an earlier chunk.
    pub valid_up_to: usize,
}

impl fmt::Display for Utf8Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "invalid UTF-8 after {} bytes", self.valid_up_to)
    }
}

impl core::error::Error for Utf8Error {}
