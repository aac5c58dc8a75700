//! The buffers to write from.

use std::cell::RefCell;

use super::{Lend as _, Pool};
use crate::output::Output;

/// An empty buffer to encode into, perhaps with room.
pub(crate) fn take_output() -> Box<Output> {
    OUTPUTS.borrow_one().unwrap_or_default()
}

/// Gives back a buffer whose bytes have been written.
pub(crate) fn put_output(mut output: Box<Output>) {
    output.clear(LARGEST_OUTPUT);
    OUTPUTS.give_back(output, KEPT_OUTPUTS);
}

thread_local! {
    static OUTPUTS: Pool<Output> = const { RefCell::new(Vec::new()) };
}

/// How many a thread keeps: a few, since those of corked connections are in use until the batch is over.
const KEPT_OUTPUTS: usize = 4;

/// The largest buffer for output that is kept, in bytes.
const LARGEST_OUTPUT: usize = 64 * 1024;
