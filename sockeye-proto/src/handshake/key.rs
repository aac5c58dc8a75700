//! `Sec-WebSocket-Key` and `Sec-WebSocket-Accept` (RFC 6455 §4.2.2).

use base64::{
    Engine as _, alphabet,
    engine::{GeneralPurpose, GeneralPurposeConfig, general_purpose::STANDARD},
};
use sha1::{Digest as _, Sha1};

/// The value of `Sec-WebSocket-Accept` for a value of `Sec-WebSocket-Key`.
///
/// ```
/// # use sockeye_proto::handshake::accept_key;
/// assert_eq!(&accept_key(b"dGhlIHNhbXBsZSBub25jZQ=="), b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
/// ```
#[must_use]
pub fn accept_key(key: &[u8]) -> [u8; 28] {
    // RFC 6455 §4.2.2: "the value is constructed by concatenating /key/, defined above in step 4 in Section 4.2.2,
    // with the string "258EAFA5-E914-47DA-95CA-C5AB0DC85B11", taking the SHA-1 hash of this concatenated value to
    // obtain a 20-byte value and base64-encoding (see Section 4 of [RFC4648]) this 20-byte hash."
    let hash = Sha1::new().chain_update(key).chain_update(GUID).finalize();
    let mut accept = [0; 28];
    encode(&hash, &mut accept);
    accept
}

/// The value of `Sec-WebSocket-Key` for a nonce of 16 random bytes.
#[must_use]
pub fn encode_key(nonce: [u8; 16]) -> [u8; 24] {
    let mut key = [0; 24];
    encode(&nonce, &mut key);
    key
}

/// Whether `key` is the base64 form of 16 bytes.
pub(super) fn is_key(key: &[u8]) -> bool {
    // RFC 6455 §4.2.1: "The base64-encoded value... when decoded, is 16 bytes in length". 18 is what 24 characters
    // could hold.
    let mut nonce = [0; 18];
    key.len() == 24 && LENIENT.decode_slice(key, &mut nonce).is_ok_and(|length| length == 16)
}

/// `out` has the exact size, so that encoding cannot fail.
fn encode(bytes: &[u8], out: &mut [u8]) {
    let written = STANDARD.encode_slice(bytes, out);
    debug_assert!(written.is_ok());
}

/// RFC 6455 §1.3.
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// The four bits of a key's last character that stand for nothing need not be zero: a client that draws 22 characters
/// at random is understood.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true),
);
