//! A counting allocator, and what the heap grows by.
//!
//! Tests of one process take turns with [`alone`]: under nextest each has a process of its own, under `cargo test` not.
#![allow(dead_code, reason = "each test file uses a part")]

use std::alloc::System;
use std::sync::{Mutex, MutexGuard, PoisonError};

use cap::Cap;

#[global_allocator]
static ALLOCATOR: Cap<System> = Cap::new(System, usize::MAX);

pub(crate) fn alone() -> MutexGuard<'static, ()> {
    static LOCK: Mutex<()> = Mutex::new(());
    LOCK.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Bytes on the heap now.
pub(crate) fn allocated() -> usize {
    ALLOCATOR.allocated()
}

/// The same for work that is to take nothing at all: the least of three times, since the test's harness has a thread of its
/// own, which may allocate a little meanwhile.
pub(crate) fn least_growth(mut work: impl FnMut()) -> usize {
    (0..3).map(|_| growth(&mut work).1).min().unwrap_or_default()
}

/// The most that the heap grew by during `work`, at any moment, beyond what it holds at the start.
pub(crate) fn growth<T>(work: impl FnOnce() -> T) -> (T, usize) {
    let before = ALLOCATOR.max_allocated();
    // A block as large as all earlier peaks together, so that the maximum moves from here on.
    let raise = Vec::<u8>::with_capacity(before.saturating_sub(ALLOCATOR.allocated()) + 1);
    let start = ALLOCATOR.max_allocated();
    let result = work();
    let end = ALLOCATOR.max_allocated();
    drop(raise);
    (result, end - start)
}
