//! The exclusive-or of a payload with a masking key, as wide as the CPU allows (RFC 6455 §5.3).
//!
//! The key comes already rotated to the payload's first byte; phases are the caller's.

/// Masks `payload` in place with `key`, whose first byte meets the payload's first.
#[inline]
pub(crate) fn apply(payload: &mut [u8], key: [u8; 4]) {
    portable(payload, key);
}

/// Bytes masked at a step: the widest vector register there is.
const WIDTH: usize = 64;

#[inline(always)]
fn portable(payload: &mut [u8], key: [u8; 4]) {
    let mut wide = [0; WIDTH];
    for lane in wide.as_chunks_mut::<4>().0 {
        *lane = key;
    }
    let (chunks, rest) = payload.as_chunks_mut::<WIDTH>();
    for chunk in chunks {
        for (byte, key) in chunk.iter_mut().zip(wide) {
            *byte ^= key;
        }
    }
    for (byte, key) in rest.iter_mut().zip(wide) {
        *byte ^= key;
    }
}
