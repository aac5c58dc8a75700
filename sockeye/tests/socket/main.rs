//! The tokio crate through its public API: over memory, over transports that hesitate and fail, and over loopback.

mod backpressure;
mod behaviour;
mod cancel;
mod closing;
mod common;
mod corked;
mod corking;
mod deadlines;
mod faults;
mod halves;
mod hostile;
mod keepalive;
mod masking;
mod opening;
mod racing;
mod sequences;
mod streaming;
#[path = "../support/mod.rs"]
mod support;
#[cfg(feature = "tls")]
mod tls;
