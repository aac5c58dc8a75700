//! Masking of payloads (RFC 6455 §5.3): what a client does to every frame it sends, and a server undoes.
//!
//! The same exclusive-or masks and unmasks. This module neither makes nor judges keys: a client draws each from
//! a strong source of entropy (§10.3), and who must mask is decided where headers are read.

use alloc::vec::Vec;

use crate::simd;

/// Masks, or unmasks, `payload` in place.
///
/// > Octet i of the transformed data ("transformed-octet-i") is the XOR of octet i of the original data
/// > ("original-octet-i") with octet at index i modulo 4 of the masking key ("masking-key-octet-j").
/// >
/// > RFC 6455 §5.3
///
/// `phase` is the number of payload bytes of the same frame that came before `payload`: 0 for a whole frame, the
/// bytes seen so far for a frame that arrives in parts. Only its remainder by 4 matters.
///
/// # Examples
///
/// ```
/// use sockeye_proto::mask;
///
/// // The masked "Hello" of RFC 6455 §5.7, arriving in two parts.
/// let key = [0x37, 0xfa, 0x21, 0x3d];
/// let mut payload = [0x7f, 0x9f, 0x4d, 0x51, 0x58];
/// mask::apply(&mut payload[..3], key, 0);
/// mask::apply(&mut payload[3..], key, 3);
/// assert_eq!(&payload, b"Hello");
/// ```
#[inline]
pub fn apply(payload: &mut [u8], mut key: [u8; 4], phase: usize) {
    key.rotate_left(phase % 4);
    simd::mask::apply(payload, key);
}

/// Appends the masked form of a frame's whole `payload` to `out`.
///
/// # Examples
///
/// ```
/// use sockeye_proto::mask;
///
/// let mut out = vec![0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d]; // the header, which ends with the key
/// mask::copy(b"Hello", [0x37, 0xfa, 0x21, 0x3d], &mut out);
/// assert_eq!(out[6..], [0x7f, 0x9f, 0x4d, 0x51, 0x58]);
/// ```
#[inline]
pub fn copy(payload: &[u8], key: [u8; 4], out: &mut Vec<u8>) {
    simd::mask::copy(payload, key, out);
}

/// Writes the masked form of a frame's whole `payload` to `out`, which has the same length.
#[inline]
pub(crate) fn copy_to(payload: &[u8], key: [u8; 4], out: &mut [u8]) {
    simd::mask::copy_to(payload, key, out);
}

#[cfg(test)]
mod tests {
    use alloc::{vec, vec::Vec};

    use proptest::prelude::*;

    use super::*;

    fn by_the_formula(payload: &[u8], key: [u8; 4], phase: usize) -> Vec<u8> {
        payload
            .iter()
            .enumerate()
            .map(|(i, byte)| byte ^ key[(phase % 4 + i) % 4])
            .collect()
    }

    #[test]
    fn section_5_3_phase_wraps_without_overflow() {
        let mut payload = vec![0; 9];
        apply(&mut payload, [1, 2, 3, 4], usize::MAX);
        assert_eq!(payload, [4, 1, 2, 3, 4, 1, 2, 3, 4]);
    }

    #[test]
    fn section_5_3_copy_appends_and_keeps_what_was_there() {
        let payload: Vec<u8> = (0..40_000).map(|i| (i * 7 % 256) as u8).collect();
        for len in [0, 1, 3, 125, 126, 4096, 8192, 8193, payload.len()] {
            let mut out = b"head".to_vec();
            copy(&payload[..len], [9, 8, 7, 6], &mut out);
            assert_eq!(out[..4], *b"head");
            assert_eq!(out[4..], by_the_formula(&payload[..len], [9, 8, 7, 6], 0));
        }
    }

    #[test]
    fn section_5_3_copy_to_fills_a_slice() {
        let payload: Vec<u8> = (0..300).map(|i| (i * 7 % 256) as u8).collect();
        for len in [0, 1, 3, 4, 15, 16, 17, 63, 64, 127, 128, 300] {
            let mut out = vec![0xee; len];
            copy_to(&payload[..len], [9, 8, 7, 6], &mut out);
            assert_eq!(out, by_the_formula(&payload[..len], [9, 8, 7, 6], 0));
        }
    }

    proptest! {
        #[test]
        fn section_5_3_a_frame_cut_anywhere_is_masked_alike(
            payload in proptest::collection::vec(any::<u8>(), 0..600),
            key: [u8; 4],
            phase: usize,
            cut: proptest::sample::Index,
        ) {
            let expected = by_the_formula(&payload, key, phase);
            let cut = cut.index(payload.len() + 1);
            let mut masked = payload;
            apply(&mut masked[..cut], key, phase);
            apply(&mut masked[cut..], key, phase.wrapping_add(cut));
            prop_assert_eq!(masked, expected);
        }
    }
}
