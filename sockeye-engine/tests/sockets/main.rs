//! The engine over loopback, with the clients of the workspace and with raw ones.

#[cfg(feature = "tls")]
#[path = "../../../sockeye/tests/support/authority.rs"]
mod authority;
mod common;
mod deferred;
mod echo;
mod hand_over;
mod handles;
mod hostile;
mod limits;
mod publish;
mod shutdown;
#[path = "../../../sockeye/tests/support/mod.rs"]
mod support;
#[cfg(feature = "tls")]
mod tls;
