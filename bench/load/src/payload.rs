//! What the messages say. The same size, kind and number give the same bytes in every run.

use crate::Kind;

/// The payload of message `number`, of exactly `size` bytes.
pub(crate) fn payload(kind: Kind, size: usize, number: usize) -> Vec<u8> {
    let mut random = Random::new(number);
    let bytes = match kind {
        Kind::Binary => (0..size).map(|_| random.next() as u8).collect(),
        Kind::Ascii => (0..size).map(|_| letter(&mut random)).collect(),
        Kind::Text => fitted(size, |text| text.push_str(WORDS[random.below(WORDS.len())])),
        Kind::Json => json(size, &mut random),
    };
    debug_assert_eq!(bytes.len(), size);
    bytes
}

/// Words with 1, 2 and 3 bytes a character, each with its space.
const WORDS: [&str; 8] = [
    "солнце ",
    "Straße ",
    "日本語 ",
    "ποταμός ",
    "żółty ",
    "연어 ",
    "лосось ",
    "紅鮭 ",
];

fn letter(random: &mut Random) -> u8 {
    match random.below(32) {
        index @ 0..26 => b'a' + index as u8,
        _ => b' ',
    }
}

/// Whole pieces while they fit, then spaces.
fn fitted(size: usize, mut push: impl FnMut(&mut String)) -> Vec<u8> {
    let mut text = String::with_capacity(size + 16);
    loop {
        let length = text.len();
        push(&mut text);
        if text.len() > size {
            text.truncate(length);
            break;
        }
    }
    let mut bytes = text.into_bytes();
    bytes.resize(size, b' ');
    bytes
}

/// An array of events: names that repeat and numbers that do not, so that 1 KiB deflates to about a third.
fn json(size: usize, random: &mut Random) -> Vec<u8> {
    const KINDS: [&str; 4] = ["trade", "quote", "cancel", "amend"];
    const SYMBOLS: [&str; 6] = ["NOK", "SEK", "DKK", "ISK", "EUR", "USD"];
    let mut text = String::from("[");
    loop {
        let event = format!(
            r#"{{"type":"{}","symbol":"{}","id":{},"price":{}.{:02},"size":{},"final":{}}}"#,
            KINDS[random.below(KINDS.len())],
            SYMBOLS[random.below(SYMBOLS.len())],
            1_000_000_000 + random.below(1_000_000_000),
            random.below(1000),
            random.below(100),
            random.below(1_000_000),
            random.below(2) == 0,
        );
        // The event, a comma before it and the bracket behind all.
        if text.len() + event.len() + 2 > size {
            break;
        }
        if text.len() > 1 {
            text.push(',');
        }
        text.push_str(&event);
    }
    text.push(']');
    let mut bytes = text.into_bytes();
    bytes.resize(size, b' ');
    bytes
}

/// Marsaglia's xorshift64*: the same sequence in every run, which is what is asked of it.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: usize) -> Self {
        Self(0x9e37_79b9_7f4a_7c15 ^ (seed as u64 + 1).wrapping_mul(0xd134_2543_de82_ef95))
    }

    pub(crate) fn next(&mut self) -> u32 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32) as u32
    }

    fn below(&mut self, end: usize) -> usize {
        self.next() as usize % end
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payloads_have_their_size_and_repeat() {
        for kind in [Kind::Binary, Kind::Ascii, Kind::Text, Kind::Json] {
            for size in [2, 16, 125, 1024, 16_384] {
                assert_eq!(payload(kind, size, 3).len(), size);
                assert_eq!(payload(kind, size, 3), payload(kind, size, 3));
            }
            assert_ne!(payload(kind, 1024, 3), payload(kind, 1024, 4));
        }
    }

    #[test]
    fn text_is_text() {
        let text = String::from_utf8(payload(Kind::Text, 1024, 0)).expect("UTF-8");
        assert!(text.chars().count() < 700, "most characters take several bytes");
        assert!(payload(Kind::Ascii, 1024, 0).is_ascii());
        serde_json::from_slice::<serde_json::Value>(&payload(Kind::Json, 1024, 0)).expect("JSON");
    }
}
