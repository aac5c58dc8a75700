//! Each program of `examples/`, run as a user runs it: against each other, against servers here, through a real proxy. What it
//! prints and its exit code are checked.

mod clients;
#[path = "../client/common.rs"]
#[expect(dead_code, reason = "other tests need more of it")]
mod common;
mod process;
mod servers;
