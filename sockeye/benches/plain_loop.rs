//! The plain loop over a transport in memory: what Sockeye takes for a message when the kernel takes nothing.
//!
//! A batch of masked frames is there to be read again and again; between two batches the task waits once, as it would for
//! the next readiness of a socket. What is written is dropped.
//!
//! `cargo bench -p sockeye --bench plain_loop` takes half a minute. Criterion's times are those of a batch; its throughput
//! counts messages.
#![allow(missing_docs, reason = "criterion's macro makes a public function")]

use std::hint::black_box;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";

/// Gives a request, then `batches` times the same frames, then the end.
struct Memory {
    request: &'static [u8],
    batch: Vec<u8>,
    batches: u64,
    waited: bool,
}

impl AsyncRead for Memory {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if !self.request.is_empty() {
            let (now, later) = self.request.split_at(self.request.len().min(buffer.remaining()));
            buffer.put_slice(now);
            self.request = later;
        } else if !self.waited {
            self.waited = true;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        } else if self.batches > 0 {
            self.waited = false;
            self.batches -= 1;
            buffer.put_slice(&self.batch);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Memory {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(black_box(bytes).len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// A masked frame with a message of `size` bytes.
fn frame(text: bool, size: u16) -> Vec<u8> {
    let mut frame = vec![if text { 0x81 } else { 0x82 }];
    if size < 126 {
        frame.push(0x80 | size as u8);
    } else {
        frame.push(0x80 | 126);
        frame.extend(size.to_be_bytes());
    }
    let key = [0x37, 0xfa, 0x21, 0x3d];
    frame.extend(key);
    frame.extend(key.iter().cycle().take(size.into()).map(|key| key ^ b'a'));
    frame
}

async fn echo(io: Memory) -> Duration {
    let mut ws = sockeye::accept(io, &sockeye::ServerOptions::default()).await.unwrap();
    let start = Instant::now();
    while let Ok(Some(message)) = ws.recv().await {
        ws.send(message).await.unwrap();
    }
    start.elapsed()
}

fn plain_loop(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let mut group = criterion.benchmark_group("plain_loop");
    for (name, text, size, depth) in [
        ("16 B, one in flight", false, 16, 1),
        ("16 B, 16 in flight", false, 16, 16),
        ("16 B, 64 in flight", false, 16, 64),
        ("125 B of text, 64 in flight", true, 125, 64),
        ("1 KiB of text, 16 in flight", true, 1024, 16),
    ] {
        let batch = frame(text, size).repeat(depth);
        group.throughput(Throughput::Elements(depth as u64));
        group.bench_function(name, |bencher| {
            bencher.iter_custom(|batches| {
                let io = Memory {
                    request: REQUEST,
                    batch: batch.clone(),
                    batches,
                    waited: false,
                };
                runtime.block_on(async { tokio::spawn(echo(io)).await.unwrap() })
            });
        });
    }
    group.finish();
}

criterion_group!(benches, plain_loop);
criterion_main!(benches);
