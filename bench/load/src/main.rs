//! The load generator: many connections in a closed loop, each with D messages in flight.
//!
//! It is made to cost less than any server: the frames are masked (and deflated) before the clock starts, one write
//! sends D of them, one read takes all that came, and checking the content is one comparison of bytes. It never
//! sleeps (but with `--wait`): it asks the kernel for events with a timeout of zero, so that a server is never kept waiting for it to wake
//! up, and so belongs on a core of its own. The result is one line of JSON on stdout.
//!
//! With `--broadcast` one more connection publishes, and all others are sent what it says.
//!
//! With `--turns` it measures as often as it is told to, and sleeps in between, so that the loads of several servers can
//! take turns without any of them starting anew.
//!
//! What it does not do: open loops (a rate that is kept whatever the server does), fragmented messages, pings of its own.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::{Parser, ValueEnum};

mod broadcast;
mod connection;
mod deflate;
mod echo;
mod frames;
mod many;
mod memory;
mod payload;
mod proc;
mod transport;
mod turns;
mod window;

use broadcast::Broadcast;
use echo::Echo;

/// What the bytes of a message are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Kind {
    /// Random bytes in binary messages
    Binary,
    /// Text messages of ASCII alone
    Ascii,
    /// Text messages, most of whose characters are of 2 or 3 bytes
    Text,
    /// Text messages of JSON, as a feed of events would have it
    Json,
}

/// Loads a server and checks every byte that comes back.
#[derive(Debug, Parser)]
#[command(name = "load")]
struct Args {
    /// Where the server listens
    #[arg(long)]
    address: SocketAddr,
    /// Connections; with `--broadcast`, subscribers
    #[arg(long, default_value_t = 100)]
    connections: usize,
    /// Messages in flight on each connection; they leave in one write
    #[arg(long, default_value_t = 1)]
    depth: usize,
    /// What the messages are
    #[arg(long, value_enum, default_value_t = Kind::Binary)]
    payload: Kind,
    /// Bytes of one message, before compression
    #[arg(long, default_value_t = 16)]
    size: usize,
    /// Seconds that are measured
    #[arg(long, default_value_t = 1.0)]
    seconds: f64,
    /// Measure whenever a line on stdin says for how many seconds, until stdin ends
    #[arg(long, conflicts_with_all = ["seconds", "messages", "memory"])]
    turns: bool,
    /// Measure this many messages instead of a time
    #[arg(long, conflicts_with = "seconds")]
    messages: Option<u64>,
    /// Seconds before the measurement starts
    #[arg(long, default_value_t = 0.3)]
    warm_up: f64,
    /// The server echoes bytes: no handshake, and the same masked frames are expected back
    #[arg(long)]
    raw: bool,
    /// Negotiate permessage-deflate without context takeover, and send compressed messages
    #[arg(long)]
    deflate: bool,
    /// Over TLS, trusting the certificate in this PEM file for `localhost`
    #[arg(long, value_name = "CERT")]
    tls: Option<PathBuf>,
    /// The server's process: tell what CPU time it took
    #[arg(long)]
    pid: Option<u32>,
    /// Let the connections idle, after one message each, and tell by how much the server's memory grew
    #[arg(long, requires = "pid", conflicts_with = "raw")]
    memory: bool,
    /// Another connection sends messages that all of these, and only they, get
    #[arg(long, conflicts_with_all = ["raw", "deflate", "memory"])]
    broadcast: bool,
    /// Sleep until something comes, instead of spinning: where server and load share cores
    #[arg(long)]
    wait: bool,
}

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Result<()> {
    if args.connections == 0 || args.depth == 0 {
        bail!("there is no load without connections and messages");
    }
    match (args.memory, args.pid) {
        (true, Some(pid)) => println!("{}", memory::run(args, pid)?),
        _ if args.broadcast => turns::run(args, &mut Broadcast::connect(args)?)?,
        _ => turns::run(args, &mut Echo::connect(args)?)?,
    }
    Ok(())
}
