//! soketto: the loop of its Autobahn server, with the buffers that this example gives it.

use std::{process::ExitCode, str};

use futures_util::io::{AsyncRead, AsyncWrite, BufReader, BufWriter};
use peer_common::{Mode, Peer, Result, Stream, coalesce, run};
use soketto::{
    Data, Mode as Role,
    connection::Error,
    extension::deflate::Deflate,
    handshake::server::{Response, Server},
};
use tokio_util::compat::TokioAsyncReadCompatExt as _;

/// What the example reads and writes at a time, in bytes.
const READ_BUFFER: usize = 8 << 10;
const WRITE_BUFFER: usize = 16 << 10;

struct Soketto;

impl Peer for Soketto {
    const NAME: &'static str = "soketto";
    const DEFLATE: bool = true;

    async fn echo<S: Stream>(stream: S, mode: Mode) -> Result {
        // Batched: no `flush` after a message, but one before each read of the stream.
        if mode.batched {
            serve(BufReader::with_capacity(READ_BUFFER, coalesce(stream).compat()), mode).await
        } else {
            let writer = BufWriter::with_capacity(WRITE_BUFFER, stream.compat());
            serve(BufReader::with_capacity(READ_BUFFER, writer), mode).await
        }
    }
}

async fn serve<S: AsyncRead + AsyncWrite + Unpin + Send>(stream: S, mode: Mode) -> Result {
    let mut server = Server::new(stream);
    if mode.deflate {
        // It never takes a context over when it compresses; the client has to offer `client_no_context_takeover`, since
        // the crate only repeats what was offered.
        server.add_extension(Box::new(Deflate::new(Role::Server)));
    }
    let key = server.receive_request().await?.key();
    server.send_response(&Response::Accept { key, protocol: None }).await?;

    let (mut sender, mut receiver) = server.into_builder().finish();
    let mut message = Vec::new();
    loop {
        message.clear();
        match receiver.receive_data(&mut message).await {
            Ok(Data::Text(_)) => sender.send_text(str::from_utf8(&message)?).await?,
            Ok(Data::Binary(_)) => sender.send_binary_mut(&mut message).await?,
            Err(Error::Closed) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
        if !mode.batched {
            sender.flush().await?;
        }
    }
}

fn main() -> ExitCode {
    run::<Soketto>()
}
