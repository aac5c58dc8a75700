//! Buffers that go from connection to connection: for frames that are incomplete, and output that is blocked.

/// Received bytes of an incomplete frame. The storage stays initialised, so that it is not cleared for each message.
#[derive(Debug, Default)]
pub(crate) struct Input {
    pub(crate) bytes: Vec<u8>,
    /// How many of them are filled.
    pub(crate) filled: usize,
}

/// Buffers of a shard that nobody uses at the moment.
#[derive(Debug, Default)]
pub(crate) struct Pool {
    inputs: Vec<Box<Input>>,
    outputs: Vec<Box<Vec<u8>>>,
    /// Bytes of capacity that are kept.
    kept: usize,
}

impl Pool {
    /// A buffer for `filled` bytes that are there and `missing` that are expected. What is expected is only what the peer
    /// claims: storage that stands ready is given for it, and none is made.
    pub(crate) fn take_input(&mut self, filled: usize, missing: usize) -> Box<Input> {
        let wanted = filled.saturating_add(missing);
        let fits = |input: &Box<Input>| input.bytes.len() >= filled;
        // The smallest that has room for all, else the largest.
        let best = (0..self.inputs.len())
            .filter(|index| fits(&self.inputs[*index]))
            .min_by_key(|index| {
                let length = self.inputs[*index].bytes.len();
                (length < wanted, length.abs_diff(wanted))
            });
        let mut input = match best {
            Some(index) => self.inputs.swap_remove(index),
            None => Box::default(),
        };
        self.kept -= input.bytes.len();
        if input.bytes.len() < filled {
            input.bytes.resize(wanted.min(2 * filled), 0);
        }
        input
    }

    pub(crate) fn put_input(&mut self, mut input: Box<Input>) {
        input.filled = 0;
        if self.kept + input.bytes.len() <= KEPT && self.inputs.len() < MOST {
            self.kept += input.bytes.len();
            self.inputs.push(input);
        }
    }

    pub(crate) fn take_output(&mut self) -> Box<Vec<u8>> {
        let output = self.outputs.pop().unwrap_or_default();
        self.kept -= output.capacity();
        output
    }

    pub(crate) fn put_output(&mut self, mut output: Box<Vec<u8>>) {
        output.clear();
        if self.kept + output.capacity() <= KEPT && self.outputs.len() < MOST {
            self.kept += output.capacity();
            self.outputs.push(output);
        }
    }

    /// Gives all storage back.
    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }
}

impl Input {
    /// Makes room for what is missing, in steps that double what has arrived, so that the peer pays for what it claims.
    pub(crate) fn grow(&mut self, missing: usize) {
        let wanted = self.filled.saturating_add(missing.max(1));
        if self.bytes.len() < wanted && self.bytes.len() - self.filled < LEAST_ROOM {
            // Halved until it is at most twice what is there: the last step ends exactly where the frame does.
            let mut size = wanted;
            while size / 2 >= 2 * self.filled.max(LEAST_ROOM) {
                size = size.div_ceil(2);
            }
            self.bytes.reserve_exact(size - self.bytes.len());
            self.bytes.resize(size, 0);
        }
    }
}

/// Less room than this is not worth a read, in bytes.
const LEAST_ROOM: usize = 16 * 1024;

/// How much capacity a shard keeps for later, in bytes.
const KEPT: usize = 8 * 1024 * 1024;

/// How many buffers of each kind it keeps.
const MOST: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_follows_what_arrives_not_what_is_claimed() {
        let mut pool = Pool::default();
        let mut input = pool.take_input(10, 1 << 30);
        assert_eq!(input.bytes.len(), 20);
        input.filled = 10;
        input.grow(1 << 30);
        assert!(input.bytes.len() <= 4 * LEAST_ROOM, "{}", input.bytes.len());
        while input.filled < 100 << 20 {
            input.filled = input.bytes.len();
            input.grow((1 << 30) - input.filled);
            assert!(input.bytes.len() <= 4 * input.filled);
        }
    }

    #[test]
    fn the_last_step_ends_where_the_frame_does() {
        let mut input = Input::default();
        let whole = (1 << 20) + 14;
        while input.filled < whole {
            input.grow(whole - input.filled);
            input.filled = input.bytes.len();
        }
        assert_eq!(input.bytes.len(), whole);
    }

    #[test]
    fn what_is_kept_is_bounded_and_used_again() {
        let mut pool = Pool::default();
        for _ in 0..100 {
            pool.put_input(Box::new(Input {
                bytes: vec![0; 1 << 20],
                filled: 5,
            }));
            pool.put_output(Box::new(Vec::with_capacity(1 << 20)));
        }
        assert!(pool.kept <= KEPT);
        let input = pool.take_input(1000, 1 << 20);
        assert_eq!((input.bytes.len(), input.filled), (1 << 20, 0));
        pool.clear();
        assert_eq!((pool.kept, pool.inputs.len(), pool.outputs.len()), (0, 0, 0));
        assert_eq!(pool.take_output().capacity(), 0);
    }
}
