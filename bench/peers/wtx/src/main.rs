//! wtx: `split_mut` and a payload that stays in the crate's own buffer where it can (`Adaptive`), as in its example.
//!
//! Its compression fails on payloads that shrink a lot and on incompressible ones of 64 KiB and more; JSON passes.

use std::{io::IoSlice, process::ExitCode};

use peer_common::{MESSAGE_LIMIT, Mode, Peer, Result, Stream, coalesce, run};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use wtx::{
    collection::Vector,
    rng::Rng,
    stream::{StreamReader, StreamWriter},
    web_socket::{
        CompressionLevel, DeflateConfig, OpCode, WebSocketAcceptor, WebSocketBuffer, WebSocketOwned,
        WebSocketPayloadOrigin,
        compression::{Flate2, NegotiatedCompression},
    },
};

struct Wtx;

impl Peer for Wtx {
    const NAME: &'static str = "wtx";
    const DEFLATE: bool = true;

    async fn echo<S: Stream>(stream: S, mode: Mode) -> Result {
        // The crate writes each frame to its stream at once; only the stream beneath can batch.
        if mode.batched {
            serve(coalesce(stream), mode).await
        } else {
            serve(stream, mode).await
        }
    }
}

async fn serve<S: Stream>(stream: S, mode: Mode) -> Result {
    let mut stream = Io(stream);
    let acceptor = WebSocketAcceptor::default().wsb(WebSocketBuffer::new());
    if mode.deflate {
        // Level 6 as everywhere here; the window of 12 bits is the crate's default. It never takes a context over.
        let deflate = DeflateConfig {
            compression_level: CompressionLevel::Six,
            ..DeflateConfig::default()
        };
        messages(acceptor.compression(Flate2::from(deflate)).accept(&mut stream).await?).await?;
    } else {
        messages(acceptor.accept(&mut stream).await?).await?;
    }
    // The crate never flushes; the stream may hold the answer to the Close frame back, TLS and the batched one do.
    Ok(stream.0.flush().await?)
}

async fn messages<C: NegotiatedCompression, R: Rng, S: Stream>(
    mut ws: WebSocketOwned<C, R, &mut Io<S>, false>,
) -> wtx::Result<()> {
    ws.set_max_payload_len(MESSAGE_LIMIT);
    let (mut common, mut reader, mut writer) = ws.split_mut();
    let mut buffer = Vector::new();
    loop {
        let mut frame = reader
            .read_frame(&mut buffer, &mut common, WebSocketPayloadOrigin::Adaptive)
            .await?;
        match frame.op_code() {
            OpCode::Text | OpCode::Binary => writer.write_frame(&mut common, &mut frame).await?,
            OpCode::Close => return Ok(()),
            _ => {}
        }
    }
}

/// Any stream of tokio's, with the calls that the crate makes for tokio's `TcpStream`.
struct Io<S>(S);

impl<S: Stream> StreamReader for Io<S> {
    async fn read(&mut self, bytes: &mut [u8]) -> wtx::Result<usize> {
        Ok(self.0.read(bytes).await?)
    }
}

impl<S: Stream> StreamWriter for Io<S> {
    async fn write_all(&mut self, bytes: &[u8]) -> wtx::Result<()> {
        Ok(self.0.write_all(bytes).await?)
    }

    async fn write_all_vectored(&mut self, bytes: &[&[u8]]) -> wtx::Result<()> {
        let mut slices = [IoSlice::new(&[]); 8];
        let count = bytes.len().min(slices.len());
        for (slice, bytes) in slices.iter_mut().zip(bytes) {
            *slice = IoSlice::new(bytes);
        }
        let mut rest = &mut slices[..count];
        // Empty slices at the front count as written.
        IoSlice::advance_slices(&mut rest, 0);
        while !rest.is_empty() {
            match self.0.write_vectored(rest).await? {
                0 => return Err(wtx::Error::UnexpectedStreamWriteEOF),
                written => IoSlice::advance_slices(&mut rest, written),
            }
        }
        Ok(())
    }
}

fn main() -> ExitCode {
    run::<Wtx>()
}
