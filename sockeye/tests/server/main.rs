//! The server through its public API, over loopback: what it takes, what it refuses, and how it ends.

#[cfg(feature = "tls")]
#[path = "../support/authority.rs"]
mod authority;
mod common;
mod limits;
#[cfg(feature = "metrics")]
mod metrics;
mod request;
mod serve;
mod shutdown;
#[path = "../support/mod.rs"]
mod support;
#[cfg(feature = "tls")]
mod tls;
#[cfg(feature = "tracing")]
mod tracing;
