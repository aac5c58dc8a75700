//! The command line that every server here has: `NAME [--port N] [--deflate] [--tls CERT KEY] [--batched] [--broadcast]
//! [--threads N]`.
//!
//! A server prints `listening 127.0.0.1:PORT` when it accepts connections, runs on one thread until it is killed, sets
//! `TCP_NODELAY`, and takes messages of at least [`MAX_MESSAGE`] bytes.

use std::io::{self, Write as _};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

/// The largest message that a server has to take, in bytes.
pub const MAX_MESSAGE: u64 = 16 << 20;

/// What a server was asked for.
#[derive(Debug)]
pub struct ServerArgs {
    /// The port to listen on; 0 takes a free one.
    pub port: u16,
    /// Negotiate permessage-deflate without context takeover.
    pub deflate: bool,
    /// The certificate chain and the private key, both PEM.
    pub tls: Option<(PathBuf, PathBuf)>,
    /// Gather the answers to what arrived together by hand.
    pub batched: bool,
    /// Send each message to all other connections instead of back.
    pub broadcast: bool,
    /// Threads, where a server can have several. Default: one.
    pub threads: usize,
}

impl ServerArgs {
    /// Reads the command line of this process.
    ///
    /// # Errors
    ///
    /// `InvalidInput` with the argument that is not understood.
    pub fn parse() -> io::Result<Self> {
        let mut args = Self {
            port: 0,
            deflate: false,
            tls: None,
            batched: false,
            broadcast: false,
            threads: 1,
        };
        let mut rest = std::env::args().skip(1);
        while let Some(name) = rest.next() {
            match name.as_str() {
                "--port" => args.port = number(&name, rest.next())?,
                "--threads" => args.threads = number(&name, rest.next())?,
                "--deflate" => args.deflate = true,
                "--batched" => args.batched = true,
                "--broadcast" => args.broadcast = true,
                "--tls" => {
                    let (Some(certificate), Some(key)) = (rest.next(), rest.next()) else {
                        return Err(wrong(&name));
                    };
                    args.tls = Some((certificate.into(), key.into()));
                }
                _ => return Err(wrong(&name)),
            }
        }
        Ok(args)
    }

    /// Where to listen: on loopback alone.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    /// Refuses what this server cannot do, so that a figure is never of something else than its label says.
    ///
    /// # Errors
    ///
    /// `Unsupported` when `asked` is true.
    pub fn refuse(asked: bool, what: &str) -> io::Result<()> {
        if asked {
            let message = format!("this server has no {what}");
            return Err(io::Error::new(io::ErrorKind::Unsupported, message));
        }
        Ok(())
    }
}

/// Tells whoever started this server that it accepts connections.
///
/// # Errors
///
/// When stdout is closed.
pub fn announce(address: SocketAddr) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "listening {address}")?;
    stdout.flush()
}

fn number<N: FromStr>(name: &str, value: Option<String>) -> io::Result<N> {
    value.and_then(|value| value.parse().ok()).ok_or_else(|| wrong(name))
}

fn wrong(argument: &str) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidInput,
        format!("wrong argument or value: {argument}"),
    )
}
