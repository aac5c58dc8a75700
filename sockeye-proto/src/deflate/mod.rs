//! The permessage-deflate extension (RFC 7692): what is wished for, what is agreed on, and the codecs.
//!
//! `codec` has zlib's streams, for what goes on from message to message or from fragment to fragment; `encode` and
//! `decode` are deflate (RFC 1951) for messages that are there as a whole; `pool` lends all of them.

#[cfg(feature = "deflate")]
mod codec;
#[cfg(feature = "deflate")]
mod decode;
#[cfg(feature = "deflate")]
mod encode;
#[cfg(feature = "deflate")]
pub(crate) mod negotiation;
mod options;
#[cfg(feature = "deflate")]
mod pool;
#[cfg(feature = "deflate")]
mod symbols;

#[cfg(not(feature = "deflate"))]
mod absent;

#[cfg(not(feature = "deflate"))]
pub use self::absent::DeflateParams;
#[cfg(not(feature = "deflate"))]
pub(crate) use self::absent::{
    Deflater, Inflated, Inflater, put_deflater, put_encoder, put_inflater, take_deflater, take_encoder, take_inflater,
};
#[cfg(feature = "deflate")]
pub(crate) use self::codec::{Deflater, Inflated, Inflater};
#[cfg(feature = "deflate")]
pub use self::negotiation::{DeflateDirection, DeflateParams, PERMESSAGE_DEFLATE, accept_response, answer, offers};
pub use self::options::{DeflateOptions, DeflateOptionsError};
#[cfg(feature = "deflate")]
pub(crate) use self::pool::{
    put_deflater, put_encoder, put_inflater, take_deflater, take_encoder, take_inflater, take_shared_encoder,
};

/// What a compressor is made with; those with equal settings can stand in for each other.
#[cfg(feature = "deflate")]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct DeflaterSettings {
    /// zlib's level, 1–9.
    pub(crate) level: u8,
    /// zlib's memory level, 1–9.
    pub(crate) memory_level: u8,
    /// Base-2 logarithm of the window, 9–15.
    pub(crate) window_bits: u8,
}
