//! The browser's API over loopback: a test for each rule of the standard, and the order of events in each kind of life.
//! Servers are Sockeye's own or scripts of bytes.

mod common;
mod loops;
mod orders;
mod rules;
mod rules_close;
mod streams;
#[path = "../support/mod.rs"]
mod support;
