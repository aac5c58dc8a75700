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
///
/// `simdutf8` has a path for ASCII, at 0.9 (1 KiB) to 1.9 times (64 KiB and more) the speed of a `memcpy` on a CPU with
/// AVX2, and leaves what is shorter than 64 bytes to the standard library, whose path for ASCII takes words.
#[inline]
pub(crate) fn check(bytes: &[u8]) -> Result<(), Utf8Error> {
    // Most short texts are ASCII, which takes less to see than to get ready for more.
    if bytes.len() <= SHORT && is_ascii(bytes) {
        return Ok(());
    }
    check_any(bytes)
}

fn check_any(bytes: &[u8]) -> Result<(), Utf8Error> {
    if simdutf8::basic::from_utf8(bytes).is_ok() {
        return Ok(());
    }
    locate(bytes)
}

/// Whether no byte has its highest bit set, by one pass over registers, the last of which may overlap the one before.
#[inline]
fn is_ascii(bytes: &[u8]) -> bool {
    let Some(last) = bytes.last_chunk::<16>() else {
        return bytes.is_ascii();
    };
    let chunks = bytes.as_chunks::<16>().0.iter().chain([last]);
    let seen = chunks.fold(0, |seen, chunk| seen | u128::from_ne_bytes(*chunk));
    seen & u128::from_ne_bytes([0x80; 16]) == 0
}

/// What is looked at for being ASCII before it is validated, in bytes.
const SHORT: usize = 256;

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

#[cfg(test)]
mod tests {
    use alloc::{collections::BTreeSet, string::String, vec::Vec};

    use proptest::prelude::*;

    use super::*;

    /// The index of the byte after which no continuation makes `bytes` valid, by the standard library.
    fn first_bad(bytes: &[u8]) -> Option<usize> {
        (0..bytes.len()).find(|&index| match core::str::from_utf8(&bytes[..=index]) {
            Ok(_) => false,
            Err(error) => error.error_len().is_some(),
        })
    }

    /// Pushes `chunks`, and checks each step against what the standard library says of the whole.
    fn agrees_with_std<'a>(chunks: impl IntoIterator<Item = &'a [u8]>) {
        let chunks: Vec<&[u8]> = chunks.into_iter().collect();
        let all = chunks.concat();
        let (bad, whole) = (first_bad(&all), core::str::from_utf8(&all));
        let valid_up_to = whole.map_or_else(|error| error.valid_up_to(), str::len);
        let mut validator = Validator::default();
        let mut end = 0;
        for chunk in chunks {
            let (start, before) = (end, validator);
            end += chunk.len();
            let result = validator.push(chunk);
            if bad.is_some_and(|bad| bad < end) {
                let valid_up_to = valid_up_to.saturating_sub(start);
                assert_eq!(result, Err(Utf8Error { valid_up_to }), "{all:x?} from {start}");
                assert_eq!(validator, before);
                return;
            }
            assert_eq!(result, Ok(()), "{all:x?} up to {end}");
        }
        assert_eq!(validator.is_complete(), whole.is_ok(), "{all:x?}");
        assert_eq!(validator.pending(), all.len() - valid_up_to, "{all:x?}");
    }

    /// Bytes at which a range of RFC 3629's grammar begins or ends, and their neighbours.
    const EDGES: [u8; 12] = [0x00, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc0, 0xc2, 0xf0, 0xff];

    const LEADS: [u8; 22] = [
        0x00, 0x7f, 0x80, 0xbf, 0xc0, 0xc1, 0xc2, 0xdf, 0xe0, 0xe1, 0xec, 0xed, 0xee, 0xef, 0xf0, 0xf1, 0xf3, 0xf4,
        0xf5, 0xf7, 0xf8, 0xff,
    ];

    #[test]
    fn state_is_four_bytes() {
        assert_eq!(size_of::<Validator>(), 4);
    }

    #[test]
    fn f10_every_short_sequence_is_judged_as_std_does() {
        agrees_with_std([]);
        for first in 0..=0xff {
            agrees_with_std([&[first][..]]);
            for second in 0..=0xff {
                agrees_with_std([&[first, second][..]]);
            }
        }
        for first in LEADS {
            for second in EDGES {
                for third in EDGES {
                    agrees_with_std([&[first, second, third][..]]);
                    for fourth in EDGES {
                        agrees_with_std([&[first, second, third, fourth][..]]);
                    }
                }
            }
        }
    }

    /// Fails if and only if no continuation exists: the reference is every prefix of every code point there is.
    #[test]
    fn f10_fails_at_the_earliest_possible_byte() {
        let mut prefixes = BTreeSet::new();
        let mut last = [0; 3];
        for scalar in '\0'..=char::MAX {
            let mut buffer = [0; 4];
            let encoded = scalar.encode_utf8(&mut buffer).as_bytes();
            let prefix = &encoded[..encoded.len() - 1];
            // Code points come in order, so a prefix repeats 64 times.
            if prefix != &last[..prefix.len()] || prefix.is_empty() {
                last[..prefix.len()].copy_from_slice(prefix);
                for len in 1..=prefix.len() {
                    prefixes.insert(prefix[..len].to_vec());
                }
            }
        }
        let viable = |bytes: &[u8]| core::str::from_utf8(bytes).is_ok() || prefixes.contains(bytes);
        let judged = |bytes: &[u8]| Validator::default().push(bytes).is_ok();
        for first in 0..=0xff {
            assert_eq!(judged(&[first]), viable(&[first]), "{first:x}");
            for second in 0..=0xff {
                let pair = [first, second];
                // Two code points of one byte are not what is looked at here.
                if first < 0x80 {
                    continue;
                }
                assert_eq!(judged(&pair), viable(&pair), "{pair:x?}");
                for third in EDGES.into_iter().filter(|_| viable(&pair) && first >= 0xe0) {
                    let triple = [first, second, third];
                    assert_eq!(judged(&triple), viable(&triple), "{triple:x?}");
                    let mut stepwise = Validator::default();
                    stepwise.push(&pair).unwrap();
                    assert_eq!(stepwise.push(&[third]).is_ok(), viable(&triple), "{triple:x?}");
                }
            }
        }
    }

    #[test]
    fn f10_surrogates_overlongs_and_f4_90_fail_before_the_sequence_ends() {
        let bad: [&[u8]; 8] = [
            b"\xf4\x90",
            b"\xed\xa0",
            b"\xe0\x80",
            b"\xf0\x80",
            b"\xc0",
            b"\xc1",
            b"\xf5",
            b"\x80",
        ];
        for bytes in bad {
            let (last, before) = bytes.split_last().unwrap();
            let mut validator = Validator::default();
            validator.push(b"\xce\xba").unwrap();
            validator.push(before).unwrap();
            assert_eq!(
                validator.push(&[*last]),
                Err(Utf8Error { valid_up_to: 0 }),
                "{bytes:x?}"
            );
            assert_eq!(first_bad(bytes), Some(bytes.len() - 1));
        }
    }

    #[test]
    fn f10_code_points_split_at_every_boundary() {
        let texts: [&[u8]; 8] = [
            "κόσμε".as_bytes(),
            "\u{0}\u{7f}\u{80}\u{7ff}\u{800}\u{ffff}\u{10000}\u{10ffff}".as_bytes(),
            "\u{d7ff}\u{e000}\u{feff}🐟".as_bytes(),
            b"ab\xed\xa0\x80c",
            b"\xce\xba\xf4\x90\x80\x80",
            b"\xf0\x9f\x90\x41\xff",
            b"\xe2\x82\xe2\x82\xac",
            b"abc\xf0\x90\x80",
        ];
        for text in texts {
            agrees_with_std(text.chunks(1));
            for first in 0..=text.len() {
                for second in first..=text.len() {
                    agrees_with_std([&text[..first], &text[first..second], &text[second..]]);
                }
            }
        }
    }

    /// Puts code points, good and bad, at each place of the blocks that vector code works in.
    #[test]
    fn f10_code_points_at_every_place_of_long_text() {
        let inserts: [&[u8]; 5] = ["ö".as_bytes(), "🐟".as_bytes(), b"\xed\xa0\x80", b"\xe2\x82", b"\xff"];
        for len in [31, 64, 150] {
            for at in 0..=len {
                for insert in inserts {
                    let mut text = alloc::vec![b'x'; len];
                    text.splice(at..at, insert.iter().copied());
                    agrees_with_std([text.as_slice()]);
                    let (before, after) = text.split_at(at + 1);
                    agrees_with_std([before, after]);
                }
            }
        }
    }

    fn nearly_text() -> impl Strategy<Value = Vec<u8>> {
        let piece = prop_oneof![
            4 => any::<String>().prop_map(String::into_bytes),
            1 => proptest::collection::vec(any::<u8>(), 0..3),
            2 => "[ -~]{0,80}".prop_map(String::into_bytes),
        ];
        proptest::collection::vec(piece, 0..6).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #[test]
        fn f10_bytes_cut_anywhere_are_judged_as_std_judges_the_whole(
            bytes in prop_oneof![nearly_text(), proptest::collection::vec(any::<u8>(), 0..40)],
            cuts in proptest::collection::vec(any::<proptest::sample::Index>(), 0..5),
        ) {
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
            cuts.sort_unstable();
            cuts.push(bytes.len());
            let mut start = 0;
            agrees_with_std(cuts.into_iter().map(|end| &bytes[core::mem::replace(&mut start, end)..end]));
        }
    }
}
