//! Whole text in a packet.
//!
//! What is trusted here is the check in `utf8::validator`, and the types of a `str` and of [`Utf8Bytes`].

use core::str;

use super::utf8_bytes::Utf8Bytes;
use crate::message::Packet;
use crate::utf8::validator::{Utf8Error, check};

/// A packet that always is valid UTF-8.
#[derive(Clone)]
pub(crate) struct TextPacket {
    /// Valid UTF-8: every constructor has checked it, or was given a type that is. A packet does not change.
    packet: Packet,
}

impl TextPacket {
    /// The text.
    #[inline]
    pub(crate) fn as_str(&self) -> &str {
        // SAFETY: `packet` is private and immutable, and each constructor has valid UTF-8 in it.
        unsafe { str::from_utf8_unchecked(self.packet.as_bytes()) }
    }

    /// The text's bytes.
    #[inline]
    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.packet.as_bytes()
    }

    /// The payload.
    pub(crate) fn into_packet(self) -> Packet {
        self.packet
    }

    /// The text on its own: copied if it is short.
    pub(crate) fn into_utf8_bytes(self) -> Utf8Bytes {
        // SAFETY: the bytes of a packet of text are valid UTF-8, and the conversion keeps them.
        unsafe { Utf8Bytes::from_utf8_unchecked(self.packet.into_bytes()) }
    }
}

impl TryFrom<Packet> for TextPacket {
    type Error = Utf8Error;

    #[inline]
    fn try_from(packet: Packet) -> Result<Self, Utf8Error> {
        check(packet.as_bytes())?;
        Ok(Self { packet })
    }
}

impl From<&str> for TextPacket {
    fn from(text: &str) -> Self {
        Self {
            packet: Packet::from(text.as_bytes()),
        }
    }
}

impl From<Utf8Bytes> for TextPacket {
    fn from(text: Utf8Bytes) -> Self {
        Self {
            packet: Packet::share(text.into_bytes()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f10_packets_become_text_only_if_they_are_utf_8() {
        for text in ["", "aö→🐟", &"ö".repeat(200)] {
            let packet = TextPacket::try_from(Packet::from(text.as_bytes())).unwrap();
            assert_eq!((packet.as_str(), packet.as_bytes()), (text, text.as_bytes()));
            assert_eq!(packet.clone().into_utf8_bytes(), text);
            assert_eq!(packet.into_packet().as_bytes(), text.as_bytes());
            assert_eq!(TextPacket::from(text).as_str(), text);
            assert_eq!(TextPacket::from(Utf8Bytes::from(text)).as_str(), text);
        }
        for bad in [&b"\xff"[..], b"a\xc3", b"ab\xed\xa0\x80", &[0x80; 200]] {
            assert!(TextPacket::try_from(Packet::from(bad)).is_err());
        }
    }
}
