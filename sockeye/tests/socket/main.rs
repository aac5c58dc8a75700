//! The tokio crate through its public API: over memory, over transports that hesitate and fail, and over loopback.

mod behaviour;
mod cancel;
mod common;
mod corking;
mod deadlines;
mod faults;
mod halves;
mod hostile;
mod opening;
mod sequences;
#[cfg(feature = "tls")]
mod tls;
