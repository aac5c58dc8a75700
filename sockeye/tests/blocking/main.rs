//! The blocking API over real sockets: against itself, against the async one, against peers that mean harm, and over
//! transports that hesitate or fail.

mod common;
mod deadlines;
mod faults;
mod halves;
mod handshakes;
mod hostile;
mod masking;
mod peers;
mod racing;
#[cfg(feature = "tokio")]
mod runtimes;
#[cfg(feature = "_rustls")]
mod tls;
