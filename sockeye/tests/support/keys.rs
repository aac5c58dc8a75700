//! K1: what masking keys must look like (RFC 6455 §5.3, §10.3), judged from frames as they went over the wire.
//!
//! The bounds are so wide that keys of a good generator fail them less than once in 10^9 runs.

use std::io::{self, Read};

/// A frame's masking key, and the first four bytes of its payload before it was masked; zeroes where it has fewer.
pub(crate) struct Masked {
    pub(crate) key: [u8; 4],
    pub(crate) payload: [u8; 4],
}

/// How many frames it takes.
pub(crate) const FRAMES: usize = 100_000;

/// Reads the next frame of a client that sends short ones.
pub(crate) fn read(io: &mut impl Read) -> io::Result<Masked> {
    let mut head = [0; 6];
    io.read_exact(&mut head)?;
    let length = usize::from(head[1] & 0x7f);
    assert!(head[1] & 0x80 != 0 && length < 126, "{head:?}");
    let mut key = [0; 4];
    key.copy_from_slice(&head[2..]);
    let mut bytes = [0; 125];
    io.read_exact(&mut bytes[..length])?;
    let mut payload = [0; 4];
    for (index, byte) in payload.iter_mut().enumerate().take(length) {
        *byte = bytes[index] ^ key[index];
    }
    Ok(Masked { key, payload })
}

/// Each byte of the keys is distributed evenly, by itself and beside whatever it could have been made from, and no more keys
/// repeat than chance would have it.
pub(crate) fn judge(frames: &[Masked]) {
    assert_eq!(frames.len(), FRAMES);
    uniform("keys", frames.iter().map(|frame| frame.key));
    // RFC 6455 §5.3: "the masking key for a given frame MUST NOT make it simple for a server/proxy to predict the masking key
    // for a subsequent frame."
    uniform(
        "keys beside those before them",
        frames.windows(2).map(|pair| xor(pair[0].key, pair[1].key)),
    );
    uniform(
        "keys less those before them",
        frames
            .windows(2)
            .map(|pair| u32::from_be_bytes(pair[1].key).wrapping_sub(u32::from_be_bytes(pair[0].key)))
            .map(u32::to_be_bytes),
    );
    uniform(
        "keys beside their payloads",
        frames.iter().map(|frame| xor(frame.key, frame.payload)),
    );
    uniform(
        "keys beside the payloads before them",
        frames.windows(2).map(|pair| xor(pair[0].payload, pair[1].key)),
    );
    uniform(
        "keys beside themselves, turned",
        frames.iter().map(|frame| {
            let [a, b, c, d] = frame.key;
            xor(frame.key, [b, c, d, a])
        }),
    );
    let mut keys: Vec<_> = frames.iter().map(|frame| frame.key).collect();
    keys.sort_unstable();
    // 10^5 keys make 5 × 10^9 pairs, of which one in 2^32 is equal: 1.2 are expected, and their number is a Poisson variable.
    let repeats = keys.windows(2).filter(|pair| pair[0] == pair[1]).count();
    assert!(repeats <= 16, "{repeats} keys repeat");
}

/// Pearson's chi-square of each of the four bytes against 256 equal shares. With 255 degrees of freedom it is 255 on average,
/// and its standard deviation 22.6: 120 and 450 are six and eight of them away.
fn uniform(what: &str, values: impl Iterator<Item = [u8; 4]>) {
    let mut counts = [[0_u32; 256]; 4];
    let mut total = 0.0;
    for value in values {
        total += 1.0;
        for (counts, byte) in counts.iter_mut().zip(value) {
            counts[usize::from(byte)] += 1;
        }
    }
    let expected: f64 = total / 256.0;
    for (index, counts) in counts.iter().enumerate() {
        let chi_square: f64 = counts
            .iter()
            .map(|&count| (f64::from(count) - expected).powi(2) / expected)
            .sum();
        assert!(
            (120.0..450.0).contains(&chi_square),
            "{what}: chi-square of byte {index} is {chi_square:.0}"
        );
    }
}

fn xor(a: [u8; 4], b: [u8; 4]) -> [u8; 4] {
    std::array::from_fn(|index| a[index] ^ b[index])
}

/// The judge knows bad keys when it sees them.
mod tests {
    use super::*;

    fn is_refused(frames: Vec<Masked>) -> bool {
        let judging = std::panic::AssertUnwindSafe(|| judge(&frames));
        std::panic::catch_unwind(judging).is_err()
    }

    fn frames(key: impl Fn(u32) -> u32) -> Vec<Masked> {
        let frame = |n: u32| Masked {
            key: key(n).to_be_bytes(),
            payload: n.wrapping_mul(0x9e37_79b9).to_be_bytes(),
        };
        (0..FRAMES as u32).map(frame).collect()
    }

    #[test]
    fn k1_bad_keys_are_refused() {
        assert!(is_refused(frames(|_| 0)));
        assert!(is_refused(frames(|_| 0x1234_5678)));
        assert!(is_refused(frames(|n| n)));
        // A step that is always the same, though each byte by itself is even.
        assert!(is_refused(frames(|n| n.wrapping_mul(0x9e37_79b9) ^ 0xdead_beef)));
        assert!(is_refused(frames(|n| n.wrapping_mul(0x9e37_79b1))));
        // A quarter of all keys.
        let mut state = 1_u64;
        let random: Vec<u32> = std::iter::repeat_with(|| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            let mixed = (state ^ (state >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            (mixed >> 32) as u32
        })
        .take(FRAMES)
        .collect();
        assert!(!is_refused(frames(|n| random[n as usize])));
        assert!(is_refused(frames(|n| random[n as usize] & !0x0300)));
        assert!(is_refused(frames(|n| random[n as usize / 2])));
    }
}
