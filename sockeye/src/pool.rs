//! Buffers that connections borrow from their thread while they have something to read or to write.
//!
//! A connection that waits holds none, however many there are; one that works finds memory that is still in the cache.

use std::cell::RefCell;

use crate::input::Buffer;
use crate::output::Output;

/// Room to read into, in bytes.
pub(crate) const READ_SIZE: usize = 64 * 1024;

/// An empty buffer with room for [`READ_SIZE`] bytes.
pub(crate) fn take_input() -> Box<Buffer> {
    with(|pool| pool.inputs.pop())
        .flatten()
        .unwrap_or_else(|| Box::new(Buffer::with_capacity(READ_SIZE)))
}

/// Gives back a buffer, whatever is in it.
pub(crate) fn put_input(mut input: Box<Buffer>) {
    let bytes = &mut input.bytes;
    bytes.clear();
    // What it held may live on in messages: then it is theirs. And one that has grown is let go of.
    if (bytes.capacity() >= READ_SIZE || bytes.try_reclaim(READ_SIZE)) && bytes.capacity() < 2 * READ_SIZE {
        with(|pool| {
            if pool.inputs.len() < KEPT_INPUTS {
                pool.inputs.push(input);
            }
        });
    }
}

/// An empty buffer to encode into, perhaps with room.
pub(crate) fn take_output() -> Box<Output> {
    with(|pool| pool.outputs.pop()).flatten().unwrap_or_default()
}

/// Gives back a buffer whose bytes have been written.
pub(crate) fn put_output(mut output: Box<Output>) {
    output.clear(LARGEST_OUTPUT);
    with(|pool| {
        if pool.outputs.len() < KEPT_OUTPUTS {
            pool.outputs.push(output);
        }
    });
}

#[allow(clippy::vec_box, reason = "connections hold them in boxes, and so they come and go")]
#[derive(Default)]
struct Pool {
    inputs: Vec<Box<Buffer>>,
    outputs: Vec<Box<Output>>,
}

thread_local! {
    static POOL: RefCell<Pool> = RefCell::default();
}

/// `None` while the thread ends and its pool is gone.
fn with<T>(work: impl FnOnce(&mut Pool) -> T) -> Option<T> {
    POOL.try_with(|pool| work(&mut pool.borrow_mut())).ok()
}

/// How many buffers a thread keeps: one to read into, since a connection gives its own back before the next one's turn.
const KEPT_INPUTS: usize = 1;

/// And a few to write from, since those of corked connections are in use until the batch is over.
const KEPT_OUTPUTS: usize = 4;

/// The largest buffer for output that is kept, in bytes.
const LARGEST_OUTPUT: usize = 64 * 1024;
