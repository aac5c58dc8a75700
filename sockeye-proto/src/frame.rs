//! The frame header (RFC 6455 §5.2): decoding and encoding, without payload.
//!
//! [`FrameHeader::decode`] checks all that can be told from a header alone: reserved bits and opcodes, minimal
//! lengths, the rules for control frames. What depends on the connection (masking by role, RSV1 by negotiation, the
//! order of fragments, limits) is the business of [`Connection`](crate::connection::Connection).

use alloc::vec::Vec;

use crate::error::ProtocolError;
use crate::message::MessageKind;

/// What a frame carries (§5.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Opcode {
    /// A further fragment of a message.
    Continuation = 0x0,
    /// A text message, or its first fragment.
    Text = 0x1,
    /// A binary message, or its first fragment.
    Binary = 0x2,
    /// The closing handshake.
    Close = 0x8,
    /// A ping, to be answered by a pong of the same payload.
    Ping = 0x9,
    /// The answer to a ping, or an unsolicited heartbeat.
    Pong = 0xA,
}

impl Opcode {
    /// Whether the frame is a control frame (§5.5).
    #[must_use]
    pub const fn is_control(self) -> bool {
        self as u8 & 0x8 != 0
    }

    const fn from_bits(bits: u8) -> Result<Self, ProtocolError> {
        Ok(match bits {
            0x0 => Self::Continuation,
            0x1 => Self::Text,
            0x2 => Self::Binary,
            0x8 => Self::Close,
            0x9 => Self::Ping,
            0xA => Self::Pong,
            // §5.2: "If an unknown opcode is received, the receiving endpoint MUST _Fail the WebSocket Connection_."
            reserved => return Err(ProtocolError::ReservedOpcode(reserved)),
        })
    }
}

/// The header of a frame (§5.2). RSV2 and RSV3 have no place in it, since no extension that we know uses them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameHeader {
    /// Whether the frame is the last of its message.
    pub fin: bool,
    /// RSV1: the message is compressed (RFC 7692 §6).
    pub rsv1: bool,
    /// What the frame carries.
    pub opcode: Opcode,
    /// The key of a masked frame (§5.3); each frame of a client has one, no frame of a server.
    pub masking_key: Option<[u8; 4]>,
    /// The length of the payload in bytes, at most 2^63 − 1.
    pub payload_length: u64,
}

impl FrameHeader {
    /// The longest header: two bytes, a 64-bit length, a masking key.
    pub const MAX_LENGTH: usize = 14;

    /// The header of a masked frame of at most 125 bytes: two bytes and the key.
    pub(crate) const SHORT_MASKED: usize = 6;

    /// Reads a header from the start of `input`; answers it with its own length in bytes, or `None` while `input` ends
    /// inside the header.
    ///
    /// ```
    /// use sockeye_proto::frame::{FrameHeader, Opcode};
    ///
    /// // The first sample of RFC 6455 §5.7.
    /// let frame = [0x81, 0x05, b'H', b'e', b'l', b'l', b'o'];
    /// let (header, length) = FrameHeader::decode(&frame)?.expect("a whole header");
    /// assert_eq!((header.opcode, header.payload_length, length), (Opcode::Text, 5, 2));
    /// assert_eq!(FrameHeader::decode(&frame[..1])?, None);
    /// # Ok::<(), sockeye_proto::error::ProtocolError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As soon as a byte is there that no valid header has in its place: [`ProtocolError::ReservedBits`],
    /// [`ReservedOpcode`](ProtocolError::ReservedOpcode), [`LengthNotMinimal`](ProtocolError::LengthNotMinimal),
    /// [`LengthOverflow`](ProtocolError::LengthOverflow),
    /// [`FragmentedControlFrame`](ProtocolError::FragmentedControlFrame) or
    /// [`ControlFrameTooLong`](ProtocolError::ControlFrameTooLong).
    #[inline]
    pub fn decode(input: &[u8]) -> Result<Option<(Self, usize)>, ProtocolError> {
        let Some(&first) = input.first() else {
            return Ok(None);
        };
        // §5.2: "MUST be 0 unless an extension is negotiated that defines meanings for non-zero values."
        if first & (RSV2 | RSV3) != 0 {
            return Err(ProtocolError::ReservedBits);
        }
        let fin = first & FIN != 0;
        let opcode = Opcode::from_bits(first & 0x0F)?;
        // §5.5: "All control frames MUST have a payload length of 125 bytes or less and MUST NOT be fragmented."
        if opcode.is_control() && !fin {
            return Err(ProtocolError::FragmentedControlFrame);
        }
        let Some(&second) = input.get(1) else {
            return Ok(None);
        };
        let length = second & 0x7F;
        if opcode.is_control() && length > MAX_CONTROL_PAYLOAD {
            return Err(ProtocolError::ControlFrameTooLong);
        }
        let Some((payload_length, after_length)) = decode_length(length, input)? else {
            return Ok(None);
        };
        let mut header_length = after_length;
        let mut masking_key = None;
        if second & MASK != 0 {
            let Some(&key) = input[after_length..].first_chunk::<4>() else {
                return Ok(None);
            };
            masking_key = Some(key);
            header_length += 4;
        }
        let header = Self {
            fin,
            rsv1: first & RSV1 != 0,
            opcode,
            masking_key,
            payload_length,
        };
        Ok(Some((header, header_length)))
    }

    /// The header of a whole, unmasked frame of at most 125 bytes.
    #[inline]
    pub(crate) const fn short(opcode: Opcode, payload_length: u8) -> [u8; 2] {
        debug_assert!(payload_length <= MAX_CONTROL_PAYLOAD);
        [FIN | opcode as u8, payload_length]
    }

    /// Reads the header of a whole, masked message of at most 125 bytes; `None` for every other frame.
    #[inline]
    pub(crate) fn decode_short(input: &[u8]) -> Option<(MessageKind, u8, [u8; 4])> {
        let (&[first, second], input) = input.split_first_chunk()?;
        // In one piece, which the compiler would otherwise put together from its bytes.
        let key = *input.first_chunk()?;
        let kind = match first {
            0x81 => MessageKind::Text,
            0x82 => MessageKind::Binary,
            _ => return None,
        };
        let length = second ^ MASK;
        (length <= MAX_CONTROL_PAYLOAD).then_some((kind, length, key))
    }

    /// Appends the header to `out`, with the length in its shortest form.
    ///
    /// A `payload_length` of 2^63 or more cannot be sent and is not checked here: no payload in memory has it.
    #[inline]
    pub fn encode(&self, out: &mut Vec<u8>) {
        let first = self.opcode as u8 | flag(self.fin, FIN) | flag(self.rsv1, RSV1);
        let mask = flag(self.masking_key.is_some(), MASK);
        // §5.2: "Note that in all cases, the minimal number of bytes MUST be used to encode the length".
        match self.payload_length {
            length @ 0..=125 => out.extend_from_slice(&[first, mask | length as u8]),
            length @ 126..=0xFFFF => {
                let [high, low] = (length as u16).to_be_bytes();
                out.extend_from_slice(&[first, mask | LENGTH_16, high, low]);
            }
            length => {
                out.extend_from_slice(&[first, mask | LENGTH_64]);
                out.extend_from_slice(&length.to_be_bytes());
            }
        }
        if let Some(key) = self.masking_key {
            out.extend_from_slice(&key);
        }
    }
}

/// The payload length in its three forms, with the offset of what follows it.
#[inline]
fn decode_length(length: u8, input: &[u8]) -> Result<Option<(u64, usize)>, ProtocolError> {
    match length {
        LENGTH_16 => {
            let Some(&bytes) = input[2..].first_chunk::<2>() else {
                return Ok(None);
            };
            let length = u16::from_be_bytes(bytes);
            if length <= u16::from(MAX_CONTROL_PAYLOAD) {
                return Err(ProtocolError::LengthNotMinimal);
            }
            Ok(Some((u64::from(length), 4)))
        }
        LENGTH_64 => {
            let Some(&bytes) = input[2..].first_chunk::<8>() else {
                return Ok(None);
            };
            let length = u64::from_be_bytes(bytes);
            // §5.2: "the most significant bit MUST be 0".
            if length >> 63 != 0 {
                return Err(ProtocolError::LengthOverflow);
            }
            if length <= 0xFFFF {
                return Err(ProtocolError::LengthNotMinimal);
            }
            Ok(Some((length, 10)))
        }
        length => Ok(Some((u64::from(length), 2))),
    }
}

const fn flag(set: bool, bit: u8) -> u8 {
    if set { bit } else { 0 }
}

/// The payload of a control frame, at most 125 bytes (§5.5), in place.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ControlPayload {
    length: u8,
    bytes: [u8; MAX_CONTROL_PAYLOAD as usize],
}

impl ControlPayload {
    /// Appends `bytes`, of which what goes past the 125th is left out: callers have checked.
    pub(crate) fn append(&mut self, bytes: &[u8]) {
        let free = &mut self.bytes[usize::from(self.length)..];
        let length = bytes.len().min(free.len());
        free[..length].copy_from_slice(&bytes[..length]);
        self.length += length as u8;
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.length)]
    }
}

impl Default for ControlPayload {
    fn default() -> Self {
        Self {
            length: 0,
            bytes: [0; MAX_CONTROL_PAYLOAD as usize],
        }
    }
}

/// §5.5: what a control frame carries at most, in bytes.
pub(crate) const MAX_CONTROL_PAYLOAD: u8 = 125;

const FIN: u8 = 0x80;
const RSV1: u8 = 0x40;
const RSV2: u8 = 0x20;
const RSV3: u8 = 0x10;
const MASK: u8 = 0x80;
const LENGTH_16: u8 = 126;
const LENGTH_64: u8 = 127;

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    fn header(opcode: Opcode, masking_key: Option<[u8; 4]>, payload_length: u64) -> FrameHeader {
        FrameHeader {
            fin: true,
            rsv1: false,
            opcode,
            masking_key,
            payload_length,
        }
    }

    #[test]
    fn section_5_2_lengths_are_minimal_and_come_back() {
        for masking_key in [None, Some([1, 2, 3, 4])] {
            for (length, bytes) in [
                (0, 2),
                (125, 2),
                (126, 4),
                (0xFFFF, 4),
                (0x1_0000, 10),
                (i64::MAX as u64, 10),
            ] {
                let header = header(Opcode::Binary, masking_key, length);
                let mut out = vec![];
                header.encode(&mut out);
                assert_eq!(out.len(), bytes + masking_key.map_or(0, |key| key.len()));
                for cut in 0..out.len() {
                    assert_eq!(FrameHeader::decode(&out[..cut]), Ok(None));
                }
                assert_eq!(FrameHeader::decode(&out), Ok(Some((header, out.len()))));
            }
        }
    }

    #[test]
    fn section_5_2_each_first_byte() {
        for first in 0..=255_u8 {
            let expected = if first & 0x30 != 0 {
                Err(ProtocolError::ReservedBits)
            } else if !matches!(first & 0x0F, 0..=2 | 8..=10) {
                Err(ProtocolError::ReservedOpcode(first & 0x0F))
            } else if first & 0x88 == 0x08 {
                Err(ProtocolError::FragmentedControlFrame)
            } else {
                Ok(None)
            };
            assert_eq!(FrameHeader::decode(&[first]), expected, "{first:#04x}");
        }
    }

    #[test]
    fn section_5_5_control_frames_have_at_most_125_bytes() {
        for opcode in [0x88, 0x89, 0x8A] {
            assert!(matches!(FrameHeader::decode(&[opcode, 125]), Ok(Some(_))));
            for length in [126, 127] {
                assert_eq!(
                    FrameHeader::decode(&[opcode, length]),
                    Err(ProtocolError::ControlFrameTooLong)
                );
            }
        }
    }

    #[test]
    fn f3_length_not_minimal() {
        assert_eq!(
            FrameHeader::decode(&[0x82, 126, 0, 5]),
            Err(ProtocolError::LengthNotMinimal)
        );
        assert_eq!(
            FrameHeader::decode(&[0x82, 127, 0, 0, 0, 0, 0, 0, 0, 200]),
            Err(ProtocolError::LengthNotMinimal)
        );
    }
}
