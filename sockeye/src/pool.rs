//! Buffers that connections borrow from their thread while they have something to read or to write.
//!
//! A connection that waits holds none, however many there are; one that works finds memory that is still in the cache.

#[cfg(feature = "tokio")]
mod output;

use std::cell::RefCell;
use std::thread::LocalKey;

#[cfg(feature = "tokio")]
pub(crate) use self::output::{put_output, take_output};
use crate::input::Buffer;

/// Room to read into, in bytes.
pub(crate) const READ_SIZE: usize = 64 * 1024;

/// An empty buffer with room for [`READ_SIZE`] bytes.
pub(crate) fn take_input() -> Box<Buffer> {
    INPUTS
        .borrow_one()
        .unwrap_or_else(|| Box::new(Buffer::with_capacity(READ_SIZE)))
}

/// Gives back a buffer, whatever is in it.
pub(crate) fn put_input(mut input: Box<Buffer>) {
    let bytes = &mut input.bytes;
    bytes.clear();
    // What it held may live on in messages: then it is theirs. And one that has grown is let go of.
    if (bytes.capacity() >= READ_SIZE || bytes.try_reclaim(READ_SIZE)) && bytes.capacity() < 2 * READ_SIZE {
        INPUTS.give_back(input, KEPT_INPUTS);
    }
}

/// The buffers of one kind that a thread keeps.
type Pool<T> = RefCell<Vec<Box<T>>>;

thread_local! {
    static INPUTS: Pool<Buffer> = const { RefCell::new(Vec::new()) };
}

trait Lend<T> {
    /// A buffer, if there is one. There is none while the thread ends and its pool is gone.
    fn borrow_one(&'static self) -> Option<Box<T>>;

    /// Keeps a buffer, if there are less than `kept`.
    fn give_back(&'static self, buffer: Box<T>, kept: usize);
}

impl<T> Lend<T> for LocalKey<Pool<T>> {
    fn borrow_one(&'static self) -> Option<Box<T>> {
        self.try_with(|pool| pool.borrow_mut().pop()).ok().flatten()
    }

    fn give_back(&'static self, buffer: Box<T>, kept: usize) {
        // Without a pool it is dropped.
        let _ = self.try_with(|pool| {
            let mut pool = pool.borrow_mut();
            if pool.len() < kept {
                pool.push(buffer);
            }
        });
    }
}

/// How many buffers a thread keeps: one to read into, since a connection gives its own back before the next one's turn.
const KEPT_INPUTS: usize = 1;
