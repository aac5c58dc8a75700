//! Shards on a simulated clock, over streams in memory: no socket, no thread, no waiting.

mod behaviour;
mod lab;
mod times;
mod topics;
