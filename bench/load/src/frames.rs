//! What is sent and what is expected back: one batch of D messages, built before the clock starts.

use crate::payload::{Random, payload};
use crate::{Args, Kind, deflate};

/// One batch: what every connection sends, and what a server has to answer with.
#[derive(Debug)]
pub(crate) struct Batch {
    /// The masked frames of all messages, one behind the other.
    pub(crate) sent: Vec<u8>,
    /// The bytes of the answer; empty where only the server knows them, which is under compression.
    pub(crate) expected: Vec<u8>,
    /// What each message says.
    pub(crate) payloads: Vec<Vec<u8>>,
    /// The opcode of the messages.
    pub(crate) opcode: u8,
}

impl Batch {
    pub(crate) fn new(args: &Args) -> Self {
        let opcode = match args.payload {
            Kind::Binary => BINARY,
            Kind::Ascii | Kind::Text | Kind::Json => TEXT,
        };
        let payloads: Vec<Vec<u8>> = (0..args.depth)
            .map(|number| payload(args.payload, args.size, number))
            .collect();
        let (mut sent, mut answer) = (Vec::new(), Vec::new());
        let mut random = Random::new(args.depth);
        for payload in &payloads {
            let key = random.next().to_ne_bytes();
            if args.deflate {
                frame(&mut sent, FIN | RSV1 | opcode, &deflate::compress(payload), Some(key));
            } else {
                frame(&mut sent, FIN | opcode, payload, Some(key));
                frame(&mut answer, FIN | opcode, payload, None);
            }
        }
        let expected = if args.raw { sent.clone() } else { answer };
        Self {
            sent,
            expected,
            payloads,
            opcode,
        }
    }
}

impl Batch {
    /// Whether a frame of the answer ends, or the first begins, at this place.
    pub(crate) fn is_between_frames(&self, place: usize) -> bool {
        let mut end = 0;
        while end < place {
            match first_frame(&self.expected[end..]) {
                Some((_, _, length)) => end += length,
                None => return false,
            }
        }
        end == place
    }
}

pub(crate) const FIN: u8 = 0x80;
pub(crate) const RSV1: u8 = 0x40;
const TEXT: u8 = 1;
const BINARY: u8 = 2;
pub(crate) const PING: u8 = 9;
pub(crate) const PONG: u8 = 10;

/// RFC 6455 §5.2: the header with the shortest form of the length, then the payload.
pub(crate) fn frame(out: &mut Vec<u8>, first: u8, payload: &[u8], key: Option<[u8; 4]>) {
    let masked = if key.is_some() { 0x80 } else { 0 };
    out.push(first);
    match payload.len() {
        length @ 0..=125 => out.push(masked | length as u8),
        length @ 126..=0xffff => {
            out.push(masked | 126);
            out.extend((length as u16).to_be_bytes());
        }
        length => {
            out.push(masked | 127);
            out.extend((length as u64).to_be_bytes());
        }
    }
    match key {
        Some(key) => {
            out.extend(key);
            out.extend(payload.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key));
        }
        None => out.extend(payload),
    }
}

/// The first frame in `bytes`, unmasked as a server sends it: its first octet, its payload, its whole length.
/// `None` while it is incomplete.
pub(crate) fn first_frame(bytes: &[u8]) -> Option<(u8, &[u8], usize)> {
    let (&first, rest) = bytes.split_first()?;
    let (&second, rest) = rest.split_first()?;
    let (length, header): (usize, usize) = match second {
        126 => (usize::from(u16::from_be_bytes(*rest.first_chunk()?)), 4),
        127 => (usize::try_from(u64::from_be_bytes(*rest.first_chunk()?)).ok()?, 10),
        length => (usize::from(length), 2),
    };
    let end = header.checked_add(length)?;
    Some((first, bytes.get(header..end)?, end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc_6455_section_5_7_single_frame_masked_text() {
        let mut out = Vec::new();
        frame(&mut out, FIN | TEXT, b"Hello", Some([0x37, 0xfa, 0x21, 0x3d]));
        assert_eq!(out, [0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58]);
    }

    #[test]
    fn frames_of_each_length_form_are_read_back() {
        for length in [0, 125, 126, 65_535, 65_536] {
            let payload = vec![7; length];
            let mut out = Vec::new();
            frame(&mut out, FIN | BINARY, &payload, None);
            assert_eq!(first_frame(&out), Some((0x82, &payload[..], out.len())));
            assert_eq!(first_frame(&out[..out.len() - 1]), None);
        }
    }
}
