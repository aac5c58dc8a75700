//! The symbols of deflate (RFC 1951 §3.2.5 to §3.2.7): which lengths and distances they stand for.

/// The symbol that ends a block; below it are the literals, above it the lengths.
pub(super) const END_OF_BLOCK: usize = 256;

/// The symbol of the shortest length.
pub(super) const FIRST_LENGTH: usize = 257;

/// How many literal and length symbols may occur. The fixed code has two more, "which will never actually occur in
/// the compressed data" (§3.2.6).
pub(super) const LITERALS: usize = 286;

/// How many distance symbols may occur; the fixed code has two more as well.
pub(super) const DISTANCES: usize = 30;

/// How many symbols the code has in which the lengths of the two other codes are told (§3.2.7).
pub(super) const LENGTH_CODES: usize = 19;

/// The longest code of a literal, a length or a distance, in bits.
pub(super) const MAX_CODE: usize = 15;

/// The longest code of a code length, in bits.
pub(super) const MAX_LENGTH_CODE: usize = 7;

/// The shortest and the longest match.
#[cfg(test)]
pub(super) const MIN_MATCH: usize = 3;
pub(super) const MAX_MATCH: usize = 258;

/// The shortest length of each length symbol (§3.2.5); as many extra bits as [`LENGTH_EXTRA`] says are added to it.
pub(super) const LENGTH_BASE: [u16; 29] = [
    3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 15, 17, 19, 23, 27, 31, 35, 43, 51, 59, 67, 83, 99, 115, 131, 163, 195, 227, 258,
];
pub(super) const LENGTH_EXTRA: [u8; 29] = [
    0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0,
];

/// The same for distances.
pub(super) const DISTANCE_BASE: [u16; DISTANCES] = [
    1, 2, 3, 4, 5, 7, 9, 13, 17, 25, 33, 49, 65, 97, 129, 193, 257, 385, 513, 769, 1025, 1537, 2049, 3073, 4097, 6145,
    8193, 12289, 16385, 24577,
];
pub(super) const DISTANCE_EXTRA: [u8; DISTANCES] = [
    0, 0, 0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 8, 9, 9, 10, 10, 11, 11, 12, 12, 13, 13,
];

/// §3.2.7: in which order the lengths of the code length code are told, so that the rare ones come last.
pub(super) const LENGTH_CODE_ORDER: [u8; LENGTH_CODES] =
    [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];

/// The lengths of the fixed codes (§3.2.6).
pub(super) const fn fixed_literal_length(symbol: usize) -> u8 {
    match symbol {
        0..=143 => 8,
        144..=255 => 9,
        256..=279 => 7,
        _ => 8,
    }
}
pub(super) const FIXED_DISTANCE_LENGTH: u8 = 5;

/// The length symbol, less [`FIRST_LENGTH`], of a match of 3 to 258 bytes.
#[inline]
pub(super) fn length_symbol(length: u16) -> u8 {
    LENGTH_SYMBOL[usize::from(length.wrapping_sub(3) & 0xFF)]
}

/// The distance symbol of a distance from 1 to 32,768. From 257 on, a symbol spans 128 distances or more.
#[inline]
pub(super) fn distance_symbol(distance: u16) -> u8 {
    let index = distance.wrapping_sub(1);
    let index = if index < 256 { index } else { 256 + (index >> 7) };
    DISTANCE_SYMBOL[usize::from(index & 0x1FF)]
}

/// A code of so many bits from its first bit on, as it is packed: "starting with the most-significant bit of the code"
/// (§3.1.1), where all else starts with the least.
#[inline(always)]
pub(super) const fn reversed(code: u16, length: u32) -> u16 {
    let [low, high] = code.to_le_bytes();
    let bits = (REVERSED[low as usize] as u16) << 8 | REVERSED[high as usize] as u16;
    bits >> (16 - length)
}

/// Processors that reverse the bits of a word are few.
static REVERSED: [u8; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = (byte as u8).reverse_bits();
        byte += 1;
    }
    table
};

static LENGTH_SYMBOL: [u8; 256] = {
    let mut table = [0; 256];
    let mut symbol = 0;
    while symbol < 29 {
        // The last symbol is 258 alone, though the one before it could say that too.
        let mut length = LENGTH_BASE[symbol] as usize;
        while length <= MAX_MATCH {
            table[length - 3] = symbol as u8;
            length += 1;
        }
        symbol += 1;
    }
    table
};

static DISTANCE_SYMBOL: [u8; 512] = {
    let mut table = [0; 512];
    let mut symbol = 0;
    while symbol < DISTANCES {
        let first = DISTANCE_BASE[symbol] as usize - 1;
        let mut index = if first < 256 { first } else { 256 + (first >> 7) };
        while index < 512 {
            table[index] = symbol as u8;
            index += 1;
        }
        symbol += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn section_3_2_5_each_length_and_distance_is_within_its_symbol() {
        for length in MIN_MATCH..=MAX_MATCH {
            let symbol = usize::from(length_symbol(length as u16));
            let extra = length - usize::from(LENGTH_BASE[symbol]);
            assert!(extra < 1 << LENGTH_EXTRA[symbol], "{length}");
        }
        assert_eq!(length_symbol(258), 28);
        for distance in 1..=32_768 {
            let symbol = usize::from(distance_symbol(distance as u16));
            let extra = distance - usize::from(DISTANCE_BASE[symbol]);
            assert!(extra < 1 << DISTANCE_EXTRA[symbol], "{distance}");
        }
    }
}
