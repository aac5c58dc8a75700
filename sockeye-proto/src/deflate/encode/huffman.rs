//! Huffman codes of limited length (RFC 1951 §3.2.2), from how often each symbol occurs.

use crate::deflate::symbols::{MAX_CODE, reversed};

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
    pub(super) fn build(&mut self, limit: usize, scratch: &mut Scratch) {
        self.used_count = collect(&self.frequency, &mut self.used);
        scratch.build(&self.frequency, &self.used[..self.used_count], &mut self.words, limit);
    }
}

/// Writes the symbols that occur into `used`, in their order, and answers how many they are: two at least.
#[inline(never)]
fn collect(frequencies: &[u16], used: &mut [u16]) -> usize {
    let (mut count, last) = (0, used.len() - 1);
    for (start, group) in frequencies.chunks(GROUP).enumerate() {
        // Most of the symbols of most messages do not occur: look at several at once.
        if group.iter().fold(0, |any, frequency| any | frequency) == 0 {
            continue;
        }
        for (offset, frequency) in group.iter().enumerate() {
            used[count.min(last)] = (start * GROUP + offset) as u16;
            count += usize::from(*frequency != 0);
        }
    }
    for symbol in [0, 1_u16] {
        if count < 2 && frequencies[usize::from(symbol)] == 0 {
            used[count] = symbol;
            count += 1;
        }
    }
    if used[0] > used[1] && count == 2 {
        used.swap(0, 1);
    }
    count
}

/// What it takes to make a code, kept so that nothing is filled with zeros for each. One place for any number of symbols, so
/// that the instructions stay in the cache from one code to the next.
pub(super) struct Scratch {
    /// Frequency and symbol, in the lower half; the rarest first.
    leaves: [u32; ROOM],
    /// The frequencies of the inner nodes, then their depths.
    inner: [u32; ROOM],
    /// Which inner node an inner node is below.
    parents: [u16; ROOM],
}

impl Scratch {
    pub(super) const fn new() -> Self {
        Self {
            leaves: [0; ROOM],
            inner: [0; ROOM],
            parents: [0; ROOM],
        }
    }

    /// Makes the words of the code for `used`, two symbols or more.
    #[inline(never)]
    fn build(&mut self, frequencies: &[u16], used: &[u16], words: &mut [u32], limit: usize) {
        self.sort(frequencies, used);
        self.merge(used.len());
        let counts = self.count_lengths(used.len(), limit);
        // The rarest symbols get the longest codes.
        let mut at = 0;
        for length in (1..=limit).rev() {
            let end = at + usize::from(counts[length]);
            for leaf in &self.leaves[at..end] {
                words[usize::from(*leaf as u16)] = length as u32;
            }
            at = end;
        }
        let mut next = first_codes(&counts);
        for symbol in used {
            let place = &mut words[usize::from(*symbol)];
            let code = &mut next[*place as usize & MAX_CODE];
            *place = word(*code, *place);
            *code += 1;
        }
    }

    /// Puts the symbols that occur in the order of their frequencies.
    fn sort(&mut self, frequencies: &[u16], used: &[u16]) {
        // By counting; what is more frequent than is counted is few, and sorted after.
        let mut starts = [0_u16; COUNTED + 1];
        let slot = |frequency: u16| usize::from(frequency).min(COUNTED - 1);
        for symbol in used {
            starts[slot(frequencies[usize::from(*symbol)]) + 1] += 1;
        }
        let mut sum = 0;
        for start in &mut starts {
            sum += *start;
            *start = sum;
        }
        let frequent = usize::from(starts[COUNTED - 1]);
        for symbol in used {
            let frequency = frequencies[usize::from(*symbol)];
            let at = &mut starts[slot(frequency)];
            self.leaves[usize::from(*at) % ROOM] = u32::from(frequency) << 16 | u32::from(*symbol);
            *at += 1;
        }
        self.leaves[frequent..used.len()].sort_unstable();
    }

    /// Huffman's algorithm for leaves in ascending order, with a second queue for the inner nodes, which come to be in
    /// ascending order too (van Leeuwen). Leaves in `inner` the depth of each inner node, the last of which is the root.
    ///
    /// Which queue has the rarer nodes cannot be predicted, so nothing branches on it.
    fn merge(&mut self, count: usize) {
        let Self {
            leaves, inner, parents, ..
        } = self;
        // No node is rarer than what is behind the ends of the queues: a block has fewer symbols than that.
        leaves[count % ROOM] = u32::MAX;
        leaves[(count + 1) % ROOM] = u32::MAX;
        inner[..=count].fill(u32::from(u16::MAX) + 1);
        let (mut leaf, mut node) = (0, 0);
        for next in 0..count - 1 {
            let [leaf0, leaf1] = [leaf, leaf + 1].map(|at: usize| leaves[at % ROOM] >> 16);
            let [node0, node1] = [node, node + 1].map(|at: usize| inner[at % ROOM]);
            // The rarest two are two leaves, or two nodes, or one of each.
            let (two_leaves, two_nodes) = (leaf1 < node0, node1 <= leaf0);
            // What is not taken is written again when it is.
            parents[node % ROOM] = next as u16;
            parents[(node + 1) % ROOM] = next as u16;
            inner[next % ROOM] = (leaf0 + leaf1).min(leaf0 + node0).min(node0 + node1);
            leaf = leaf + 1 + usize::from(two_leaves) - usize::from(two_nodes);
            node = node + 1 + usize::from(two_nodes) - usize::from(two_leaves);
        }
        let root = count - 2;
        inner[root % ROOM] = 0;
        for node in (0..root).rev() {
            inner[node % ROOM] = inner[usize::from(parents[node % ROOM]) % ROOM] + 1;
        }
    }

    /// How many leaves there are at each depth, from the depths of the inner nodes; what would be deeper than `limit` is
    /// brought up.
    fn count_lengths(&self, count: usize, limit: usize) -> [u16; MAX_CODE + 1] {
        let nodes = &self.inner[..count - 1];
        let mut counts = [0; MAX_CODE + 1];
        if nodes.first().is_some_and(|deepest| (*deepest as usize) < limit) {
            // A node has two below it, which are leaves unless they are nodes.
            let mut at = [0_u16; MAX_CODE + 1];
            for depth in nodes {
                at[*depth as usize & MAX_CODE] += 1;
            }
            for depth in 1..=MAX_CODE {
                counts[depth] = 2 * at[depth - 1] - at[depth];
            }
            return counts;
        }
        // A node at `depth` takes the place of one leaf there and brings two below. Beyond the limit, two leaves replace
        // the nearest leaf that may sink instead: that keeps the code complete, and costs a fraction of a bit.
        counts[1] = 2;
        for node in nodes[..count - 2].iter().rev() {
            let mut depth = (*node as usize).min(limit - 1);
            while counts[depth] == 0 {
                depth -= 1;
            }
            counts[depth] -= 1;
            counts[depth + 1] += 2;
        }
        counts
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

#[inline(always)]
const fn word(code: u16, length: u32) -> u32 {
    reversed(code, length) as u32 | length << LENGTH_SHIFT
}

const LENGTH_SHIFT: u32 = 16;

/// For any code's symbols and one more, as a power of two.
const ROOM: usize = 512;

/// How many symbols are skipped at once if none of them occurs.
const GROUP: usize = 16;

/// Frequencies that are told apart while counting.
const COUNTED: usize = 64;
