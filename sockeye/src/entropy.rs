//! Unpredictable bytes for masking keys, nonces and pings.

use rand::Rng;

/// Fills `bytes` from the thread's generator: ChaCha12, seeded and reseeded by the operating system, which is asked
/// once in 64 KiB rather than once a frame.
///
/// # Panics
///
/// If the operating system has no randomness to seed the generator with.
pub(crate) fn fill(bytes: &mut [u8]) {
    rand::rng().fill_bytes(bytes);
}

/// A nonce for `Sec-WebSocket-Key` (RFC 6455 §4.1).
pub(crate) fn nonce() -> [u8; 16] {
    let mut nonce = [0; 16];
    fill(&mut nonce);
    nonce
}
