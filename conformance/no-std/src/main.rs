//! Links, and runs, without the standard library: with a panic handler and an allocator of its own.
//!
//! It proves that `sockeye-proto` needs no more than `core` and `alloc`; `cargo xtask no-std` builds it with and
//! without `deflate`, looks for parts of `std` in it, and expects it to exit with 0.
#![no_std]
#![no_main]
#![forbid(unsafe_code)]

extern crate alloc;

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::hint::black_box;
use core::panic::PanicInfo;

use sockeye_proto::connection::{Compress, Config, Connection, Event, Received, Role};

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
    // The sample of RFC 6455 §5.7: a masked text message with "Hello".
    let sample = [0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58];
    echoes_hello(&mut connection(), black_box(sample)) && compressed()
}

fn connection() -> Connection {
    // A server needs no randomness: only clients mask.
    let config = Config::new(|bytes| bytes.fill(0));
    Connection::new(Role::Server, Arc::new(config))
}

/// Receives one message, which must be "Hello", and sends it back.
fn echoes_hello<const N: usize>(connection: &mut Connection, mut input: [u8; N]) -> bool {
    let mut out = Vec::new();
    let text = match connection.receive(&mut input, &mut out) {
        Ok(Received {
            consumed,
            event: Some(Event::Text(text)),
        }) if consumed == N => String::from(text),
        _ => return false,
    };
    text == "Hello" && connection.send_with(&*text, Compress::Always, &mut out).is_ok() && !out.is_empty()
}

/// The sample of RFC 7692 §7.2.3.1: "Hello" in one compressed block, here with a masking key of zeros.
#[cfg(feature = "deflate")]
fn compressed() -> bool {
    use sockeye_proto::deflate::DeflateDirection;
    use sockeye_proto::deflate::DeflateParams;

    let direction = DeflateDirection {
        context_takeover: true,
        max_window_bits: 15,
    };
    let mut connection = connection().with_deflate(DeflateParams::new(direction, direction));
    let sample = [0xc1, 0x87, 0, 0, 0, 0, 0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00];
    echoes_hello(&mut connection, black_box(sample))
}

#[cfg(not(feature = "deflate"))]
fn compressed() -> bool {
    true
}

#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    // A trap would want inline assembly, and `abort` a foreign function; the deadline of the test ends this loop.
    loop {
        core::hint::spin_loop();
    }
}
