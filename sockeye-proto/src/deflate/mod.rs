//! The permessage-deflate extension (RFC 7692).

pub mod negotiation;
mod options;

pub use options::{DeflateOptions, DeflateOptionsError};
