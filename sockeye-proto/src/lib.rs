//! The WebSocket protocol without I/O.
#![no_std]

extern crate alloc;
#[cfg(feature = "std")]
extern crate std;

pub mod close;
pub mod connection;
pub mod deflate;
pub mod error;
pub mod extension;
pub mod frame;
pub mod handshake;
pub mod keepalive;
pub mod mask;
pub mod message;
pub mod prepared;
pub mod uri;
pub mod utf8;

mod simd;
mod token;
