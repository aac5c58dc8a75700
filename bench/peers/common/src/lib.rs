//! What the echo servers of all peers share: the command line, the runtime, the listener and TLS, so that each peer's own
//! file shows nothing but the use of its crate.
//!
//! Every server is started as `NAME [--port N] [--deflate] [--tls CERT KEY] [--batched]`, prints one line
//! `listening 127.0.0.1:PORT` and runs on one thread until it is killed. A mode that the crate does not have is refused with
//! one sentence and exit code 2.

mod args;
mod flush;
mod tls;

use std::{error::Error, future::Future, io::Write as _, net::Ipv4Addr, process::ExitCode};

use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpListener,
};

use args::Args;
pub use flush::{FlushBeforeRead, coalesce};

/// The longest message that a server accepts where its crate's own limit is lower, in bytes: 64 MiB.
pub const MESSAGE_LIMIT: usize = 64 << 20;

/// How much a server gathers before it writes in the batched mode, in bytes: 64 KiB.
pub const BATCH_LIMIT: usize = 64 << 10;

/// How a connection ends: anything but `Ok` is of no interest to the server, and its client notices.
pub type Result<T = ()> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// A connected byte stream: TCP, or TLS over it.
pub trait Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> Stream for S {}

/// What the command line asks of a connection.
#[derive(Clone, Copy, Debug)]
pub struct Mode {
    /// Accept permessage-deflate, without context takeover in either direction.
    pub deflate: bool,
    /// Answer what arrived together in one write, as far as a user of the crate can arrange it.
    pub batched: bool,
}

/// A WebSocket crate that can echo.
pub trait Peer: 'static {
    /// The crate's name.
    const NAME: &'static str;
    /// Whether it implements permessage-deflate.
    const DEFLATE: bool;

    /// Does once, before the runtime starts, what the crate asks of a program.
    fn prepare() {}

    /// Performs the handshake on `stream`, then echoes every text and binary message until the connection ends.
    fn echo<S: Stream>(stream: S, mode: Mode) -> impl Future<Output = Result> + Send;
}

/// Runs `P`'s server as the command line says, until it is killed.
pub fn run<P: Peer>() -> ExitCode {
    let args = match Args::parse(P::NAME, P::DEFLATE) {
        Ok(args) => args,
        Err(reason) => {
            eprintln!("{reason}");
            return ExitCode::from(2);
        }
    };
    P::prepare();
    match serve::<P>(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{}: {error}", P::NAME);
            ExitCode::FAILURE
        }
    }
}

fn serve<P: Peer>(args: Args) -> Result {
    let acceptor = args
        .tls
        .map(|(certificate, key)| tls::acceptor(&certificate, &key))
        .transpose()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async move {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, args.port)).await?;
        println!("listening {}", listener.local_addr()?);
        std::io::stdout().flush()?;
        loop {
            let (socket, _) = listener.accept().await?;
            socket.set_nodelay(true)?;
            match acceptor.clone() {
                None => drop(tokio::spawn(P::echo(socket, args.mode))),
                Some(acceptor) => drop(tokio::spawn(async move {
                    // Some crates never flush, and tokio-rustls keeps what the socket did not take until somebody does.
                    let stream = FlushBeforeRead::new(acceptor.accept(socket).await?);
                    P::echo(stream, args.mode).await
                })),
            }
        }
    })
}
