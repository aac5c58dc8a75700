//! Links, and runs, without the standard library: with a panic handler and an allocator of its own.
//!
//! It proves that `sockeye-proto` needs no more than `core` and `alloc`; `cargo xtask no-std` builds it with and
//! without `deflate`, looks for parts of `std` in it, and expects it to exit with 0.
#![no_std]
#![no_main]
#![forbid(unsafe_code)]

use core::hint::black_box;
use core::panic::PanicInfo;

use sockeye_proto::extension;

/// 256 KiB that never grow.
#[global_allocator]
static ALLOCATOR: emballoc::Allocator<{ 256 * 1024 }> = emballoc::Allocator::new();

/// Keeps `program_entry` in the program, which nothing else refers to until the linker does.
#[used]
static ENTRY: extern "C" fn() -> i32 = program_entry;

/// What the C library calls as `main`, see `entry.ld`; the result is the exit status.
extern "C" fn program_entry() -> i32 {
    i32::from(!exercise())
}

/// Uses the crate as a program would; whether it answered as it should. The inputs are hidden from the compiler,
/// which would compute the answers otherwise and leave nothing of the crate to link.
#[inline(never)]
fn exercise() -> bool {
    let value: &[u8] = black_box(b"permessage-deflate; client_max_window_bits");
    extension::parse([value]).is_ok_and(|list| list.len() == 1)
}

#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    // A trap would want inline assembly, and `abort` a foreign function; the deadline of the test ends this loop.
    loop {
        core::hint::spin_loop();
    }
}
