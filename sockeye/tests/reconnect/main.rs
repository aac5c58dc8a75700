//! The client that comes back, over loopback, with servers that refuse, drop and close. The clock is tokio's, and paused:
//! it moves when a test moves it.

mod cancel;
mod common;
mod delivery;
mod end;
mod example;
mod finish;
mod hooks;
mod queue;
mod retry;
mod states;
#[path = "../support/mod.rs"]
mod support;
#[cfg(feature = "tls")]
mod tls;
