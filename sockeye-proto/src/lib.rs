//! The WebSocket protocol without I/O: RFC 6455 and permessage-deflate (RFC 7692), for both roles.
//!
//! This crate knows no socket, no runtime, no clock and no source of randomness; a driver brings them. It is `no_std`
//! and needs `alloc`.
//!
//! A connection goes through two types. [`handshake`] reads and writes the opening handshake over HTTP; what it agrees
//! on makes a [`connection::Connection`], which turns received bytes into events, and messages into bytes. The
//! caller owns the bytes in both directions. [`keepalive`] tells a driver when to ping and when to give up.
//!
//! # Features
//!
//! - `std` (default): CPU features are found at run time, and codecs are shared per thread.
//! - `deflate` (default): permessage-deflate. Without `std` its memory comes from C's allocator.
#![no_std]

extern crate alloc;
#[cfg(feature = "std")]
extern crate std;

mod authority;
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
