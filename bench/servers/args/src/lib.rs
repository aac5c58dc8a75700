//! The command line that every server here has: `NAME [--port N] [--deflate] [--tls CERT KEY] [--batched]`.
//!
//! A server prints `listening 127.0.0.1:PORT` when it accepts connections, runs on one thread until it is killed, sets
//! `TCP_NODELAY`, and takes messages of at least [`MAX_MESSAGE`] bytes.

use std::io::{self, Write as _};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

/// The largest message that a server has to take, in bytes.
pub const MAX_MESSAGE: u64 = 16 << 20;

/// What a server was asked for.
#[derive(Debug, Default)]
pub struct ServerArgs {
    /// The port to listen on; 0 takes a free one.
    pub port: u16,
    /// Negotiate permessage-deflate without context takeover.
    pub deflate: bool,
    /// The certificate chain and the private key, both PEM.
    pub tls: Option<(PathBuf, PathBuf)>,
    /// Gather the answers to what arrived together by hand.
    pub batched: bool,
}

impl ServerArgs {
    /// Reads the command line of this process.
    ///
    /// # Errors
    ///
    /// `InvalidInput` with the argument that is not understood.
    pub fn parse() -> io::Result<Self> {
        let mut args = Self::default();
        let mut rest = std::env::args().skip(1);
        while let Some(name) = rest.next() {
            match name.as_str() {
                "--port" => {
                    args.port = rest
                        .next()
                        .and_then(|port| port.parse().ok())
                        .ok_or_else(|| wrong(&name))?
                }
                "--deflate" => args.deflate = true,
                "--batched" => args.batched = true,
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

fn wrong(argument: &str) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidInput,
        format!("wrong argument or value: {argument}"),
    )
}
