//! The WebSocket protocol without I/O.
#![no_std]

extern crate alloc;
#[cfg(feature = "std")]
extern crate std;

mod authority;
pub mod close;
#[cfg(feature = "deflate")]
pub mod deflate;
pub mod error;
pub mod extension;
pub mod frame;
pub mod handshake;
pub mod mask;
mod token;
pub mod uri;
pub mod utf8;

mod simd;
