//! Huffman codes of limited length (RFC 1951 §3.2.2), from how often each symbol occurs.

use crate::deflate::symbols::MAX_CODE;

/// A prefix code for up to `N` symbols, and the symbols that occur.
pub(super) struct Code<const N: usize> {
    /// How often each symbol occurs in the block.
    pub(super) frequency: [u16; N],
    /// The bits of each symbol, the first one lowest, with their number above [`LENGTH_SHIFT`]. Meaningless for a
    /// symbol that does not occur.
    words: [u32; N],
    /// The symbols that occur, in their order.
    used: [u16; N],
    used_count: usize,
}

impl<const N: usize> Code<N> {
    pub(super) const fn new() -> Self {
        Self {
            frequency: [0; N],
            words: [0; N],
            used: [0; N],
            used_count: 0,
        }
    }

    /// The code whose symbols have these lengths in bits, none of them 0: the fixed codes.
    pub(super) const fn with_lengths(lengths: &[u8; N]) -> Self {
        let mut code = Self::new();
        let mut counts = [0; MAX_CODE + 1];
        let mut symbol = 0;
        while symbol < N {
            counts[lengths[symbol] as usize] += 1;
            code.used[symbol] = symbol as u16;
            symbol += 1;
        }
        code.used_count = N;
        let mut next = first_codes(&counts);
        let mut symbol = 0;
        while symbol < N {
            let length = lengths[symbol] as usize;
            code.words[symbol] = word(next[length], length as u32);
            next[length] += 1;
            symbol += 1;
        }
        code
    }

    /// Counts from 0 again.
    pub(super) fn clear(&mut self) {
        self.frequency = [0; N];
    }

    /// The symbols that occur, in their order. After [`build`](Self::build).
    pub(super) fn used(&self) -> &[u16] {
        &self.used[..self.used_count]
    }

    /// The bits of a symbol and their number.
    #[inline(always)]
    pub(super) fn word(&self, symbol: usize) -> (u64, u32) {
        let word = self.words[symbol];
        (u64::from(word & 0xFFFF), word >> LENGTH_SHIFT)
    }

    /// The number of bits of a symbol that occurs.
    #[inline(always)]
    pub(super) fn length(&self, symbol: usize) -> u32 {
        self.words[symbol] >> LENGTH_SHIFT
    }

    /// Makes the code in which the symbols take the fewest bits, none of them more than `limit`.
    ///
    /// If no symbol occurs or only one, symbols are added: a code of two symbols is complete, which some inflaters
    /// insist on.
    pub(super) fn build(&mut self, limit: usize) {
        self.collect();
        // Frequency and symbol: sorted, the rarest first.
        let mut nodes = [0_u32; N];
        let nodes = &mut nodes[..self.used_count];
        self.sort(nodes);
        let mut counts = [0_u16; MAX_CODE + 1];
        let mut sorted = [0_u16; N];
        for (sorted, node) in sorted.iter_mut().zip(&*nodes) {
            *sorted = *node as u16;
        }
        merge(nodes);
        count_lengths(nodes, limit, &mut counts);
        // The rarest symbols get the longest codes.
        let mut at = 0;
        for length in (1..=limit).rev() {
            let end = at + usize::from(counts[length]);
            for symbol in &sorted[at..end] {
                self.words[usize::from(*symbol)] = length as u32;
            }
            at = end;
        }
        let mut next = first_codes(&counts);
        for symbol in &self.used[..self.used_count] {
            let symbol = usize::from(*symbol);
            let length = self.words[symbol];
            let code = &mut next[length as usize & MAX_CODE];
            self.words[symbol] = word(*code, length);
            *code += 1;
        }
    }

    fn collect(&mut self) {
        let mut count = 0;
        for (start, group) in self.frequency.chunks(GROUP).enumerate() {
            // Most of the symbols of most messages do not occur: look at several at once.
            if group.iter().fold(0, |any, frequency| any | frequency) == 0 {
                continue;
            }
            for (offset, frequency) in group.iter().enumerate() {
                self.used[count.min(N - 1)] = (start * GROUP + offset) as u16;
                count += usize::from(*frequency != 0);
            }
        }
        self.used_count = count;
        for symbol in 0..2 {
            if self.used_count < 2 && self.frequency[symbol] == 0 {
                self.used[self.used_count] = symbol as u16;
                self.used_count += 1;
            }
        }
        if self.used[0] > self.used[1] && self.used_count == 2 {
            self.used.swap(0, 1);
        }
    }

    /// Puts the symbols that occur in the order of their frequencies, with these in the upper half of each entry.
    fn sort(&self, nodes: &mut [u32]) {
        // By counting; what is more frequent than is counted is few, and sorted after.
        let mut starts = [0_u16; COUNTED + 1];
        let slot = |frequency: u16| usize::from(frequency).min(COUNTED - 1);
        for symbol in self.used() {
            starts[slot(self.frequency[usize::from(*symbol)]) + 1] += 1;
        }
        let mut sum = 0;
        for start in &mut starts {
            sum += *start;
            *start = sum;
        }
        let frequent = usize::from(starts[COUNTED - 1]);
        for symbol in self.used() {
            let frequency = self.frequency[usize::from(*symbol)];
            let at = &mut starts[slot(frequency)];
            nodes[usize::from(*at)] = u32::from(frequency) << 16 | u32::from(*symbol);
            *at += 1;
        }
        nodes[frequent..].sort_unstable();
    }
}

/// Huffman's algorithm in place, after Moffat and Katajainen, "In-place calculation of minimum-redundancy codes":
/// takes the frequencies (in the upper halves) in ascending order; leaves in each inner node, the last but one being
/// the root, its depth.
fn merge(nodes: &mut [u32]) {
    let count = nodes.len();
    for node in nodes.iter_mut() {
        *node >>= 16;
    }
    let (mut leaf, mut inner) = (0, 0);
    for next in 0..count - 1 {
        let mut weight = 0;
        for _ in 0..2 {
            if leaf >= count || (inner < next && nodes[inner] <= nodes[leaf]) {
                weight += nodes[inner];
                // From now on it tells where its parent is.
                nodes[inner] = next as u32;
                inner += 1;
            } else {
                weight += nodes[leaf];
                leaf += 1;
            }
        }
        nodes[next] = weight;
    }
    let root = count - 2;
    nodes[root] = 0;
    for node in (0..root).rev() {
        nodes[node] = nodes[nodes[node] as usize] + 1;
    }
}

/// How many leaves there are at each depth, from the depths of the inner nodes that [`merge`] leaves; what would be
/// deeper than `limit` is brought up.
fn count_lengths(nodes: &[u32], limit: usize, counts: &mut [u16; MAX_CODE + 1]) {
    // A node at `depth` takes the place of one leaf there and brings two below. Beyond the limit, two leaves replace
    // the nearest leaf that may sink instead: that keeps the code complete, and costs a fraction of a bit.
    counts[1] = 2;
    for node in nodes[..nodes.len() - 2].iter().rev() {
        let mut depth = (*node as usize).min(limit - 1);
        while counts[depth] == 0 {
            depth -= 1;
        }
        counts[depth] -= 1;
        counts[depth + 1] += 2;
    }
}

/// §3.2.2, step 2: "Find the numerical value of the smallest code for each code length".
const fn first_codes(counts: &[u16; MAX_CODE + 1]) -> [u16; MAX_CODE + 1] {
    let mut next = [0; MAX_CODE + 1];
    let mut code = 0_u32;
    let mut length = 1;
    while length <= MAX_CODE {
        code = (code + counts[length - 1] as u32) << 1;
        next[length] = code as u16;
        length += 1;
    }
    next
}

/// §3.1.1: "Huffman codes are packed starting with the most-significant bit of the code", all else with the least.
const fn word(code: u16, length: u32) -> u32 {
    (code.reverse_bits() >> (16 - length)) as u32 | length << LENGTH_SHIFT
}

const LENGTH_SHIFT: u32 = 16;

/// How many symbols are skipped at once if none of them occurs.
const GROUP: usize = 16;

/// Frequencies that are told apart while counting.
const COUNTED: usize = 64;
