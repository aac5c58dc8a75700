//! M2, M4, M7, M10 and F2 over sockets and pipes, by a counting allocator. Each test is a process of its own under
//! nextest; under `cargo test` they take turns.

use std::alloc::System;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, Mutex, MutexGuard, PoisonError};

use cap::Cap;
use futures_util::FutureExt;
use sockeye::{CloseCode, Server, ServerOptions, WebSocket, accept};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream};

#[global_allocator]
static HEAP: Cap<System> = Cap::new(System, usize::MAX);

static TURN: Mutex<()> = Mutex::new(());

const MIB: usize = 1 << 20;
const KIB: usize = 1 << 10;

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// The header of a binary frame of 1 MiB, with a mask of zeroes.
const HEADER: [u8; 14] = [0x82, 0xff, 0, 0, 0, 0, 0, 0x10, 0, 0, 0, 0, 0, 0];

fn turn() -> MutexGuard<'static, ()> {
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
}

/// A server's end over TCP, and the other end of the connection, which is upgraded and otherwise raw.
async fn over_tcp() -> (WebSocket<sockeye::transport::Stream>, TcpStream) {
    let server = Server::bind("127.0.0.1:0", ServerOptions::default()).await.unwrap();
    let mut tcp = TcpStream::connect(server.local_addr().unwrap()).unwrap();
    tcp.set_nodelay(true).unwrap();
    tcp.write_all(REQUEST).unwrap();
    let ws = server.accept().await.unwrap().accept().await.unwrap();
    let mut head = [0; 1];
    let mut end = [0; 4];
    while end != *b"\r\n\r\n" {
        tcp.read_exact(&mut head).unwrap();
        end = [end[1], end[2], end[3], head[0]];
    }
    (ws, tcp)
}

/// M4: a frame of 1 MiB in writes of a byte, by a thread that allocates nothing.
#[test]
fn m4_a_frame_of_a_mebibyte_byte_by_byte() {
    let _turn = turn();
    runtime().block_on(async {
        let (mut ws, mut tcp) = over_tcp().await;
        let start = Arc::new(Barrier::new(2));
        let writer = std::thread::spawn({
            let start = start.clone();
            move || {
                start.wait();
                for byte in HEADER {
                    tcp.write_all(&[byte]).unwrap();
                }
                for _ in 0..MIB {
                    tcp.write_all(&[7]).unwrap();
                }
                tcp
            }
        });
        warm_up(&mut ws);
        let before = HEAP.allocated();
        start.wait();
        let message = ws.recv().await.unwrap().unwrap();
        let peak = HEAP.max_allocated() - before;
        assert_eq!(message.len(), MIB);
        assert!(peak <= MIB + 4 * KIB, "{peak} bytes");
        drop(writer.join().unwrap());
    });
}

/// Waits in `recv` once, so that the buffer which the thread lends to whoever reads is there before the measurement.
fn warm_up<T: AsyncRead + AsyncWrite + Unpin>(ws: &mut WebSocket<T>) {
    assert!(ws.recv().now_or_never().is_none());
}

async fn idle_pair() -> (WebSocket<DuplexStream>, DuplexStream) {
    let (near, mut far) = tokio::io::duplex(64);
    let options = ServerOptions::default();
    let (ws, ()) = tokio::join!(accept(near, &options), async {
        far.write_all(REQUEST).await.unwrap();
        let mut end = [0; 4];
        while end != *b"\r\n\r\n" {
            let byte = far.read_u8().await.unwrap();
            end = [end[1], end[2], end[3], byte];
        }
    });
    (ws.unwrap(), far)
}

/// F2, M2: connections that have claimed 1 MiB each and sent ten bytes of it, all waiting in `recv`.
#[test]
fn f2_a_thousand_claims_of_a_mebibyte() {
    const CONNECTIONS: usize = 1000;
    let _turn = turn();
    runtime().block_on(async {
        let claimed = Arc::new(AtomicUsize::new(0));
        let mut tasks = Vec::with_capacity(CONNECTIONS);
        let mut peers = Vec::with_capacity(CONNECTIONS);
        let before = HEAP.allocated();
        for _ in 0..CONNECTIONS {
            let (mut ws, mut far) = idle_pair().await;
            tasks.push(tokio::spawn(async move { ws.recv().await.is_err() }));
            far.write_all(&HEADER).await.unwrap();
            far.write_all(&[7; 10]).await.unwrap();
            peers.push(far);
            claimed.fetch_add(1, Ordering::Relaxed);
        }
        // Every task has taken what its peer sent before this one runs again.
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
        let each = (HEAP.allocated() - before) / CONNECTIONS;
        assert!(each <= 16 * KIB, "{each} bytes for a claim");
        drop(peers);
        for task in tasks {
            assert!(task.await.unwrap());
        }
    });
}

/// An idle connection that waits in `recv` owns no buffer.
#[test]
fn idle_connections_own_no_buffer() {
    const CONNECTIONS: usize = 1000;
    let _turn = turn();
    runtime().block_on(async {
        let mut tasks = Vec::with_capacity(CONNECTIONS);
        let mut peers = Vec::with_capacity(CONNECTIONS);
        let before = HEAP.allocated();
        for _ in 0..CONNECTIONS {
            let (mut ws, far) = idle_pair().await;
            tasks.push(tokio::spawn(async move { ws.recv().await.is_err() }));
            peers.push(far);
        }
        tokio::task::yield_now().await;
        let each = (HEAP.allocated() - before) / CONNECTIONS;
        assert!(
            each <= 4 * KIB,
            "{each} bytes for an idle connection, its pipe and its task"
        );
        drop(peers);
        for task in tasks {
            assert!(task.await.unwrap());
        }
    });
}

/// M7: pings without end by a peer that reads no pong. Few pongs wait, and then its pings wait too.
#[test]
fn m7_pings_whose_pongs_are_never_read() {
    let _turn = turn();
    runtime().block_on(async {
        let (near, mut far) = tokio::io::duplex(4 * KIB);
        let options = ServerOptions::default();
        let (ws, written) = tokio::join!(accept(near, &options), far.write_all(REQUEST));
        written.unwrap();
        let mut ws = ws.unwrap();
        let ping = [&[0x89, 0x80 | 125, 0, 0, 0, 0][..], &[b'p'; 125]].concat();
        let batch = ping.repeat(100);
        warm_up(&mut ws);
        let before = HEAP.allocated();
        let peer = async {
            for sent in 0..1000 {
                let writing = std::pin::pin!(far.write_all(&batch));
                let waiting = tokio::time::timeout(std::time::Duration::from_secs(1), writing);
                if waiting.await.is_err() {
                    return sent * 100;
                }
            }
            100_000
        };
        tokio::time::pause();
        let sent = tokio::select! {
            received = ws.recv() => panic!("{received:?}"),
            sent = peer => sent,
        };
        let peak = HEAP.max_allocated() - before;
        assert!(peak <= 64 * KIB, "{peak} bytes");
        assert!(sent < 10_000, "{sent} pings were taken");
    });
}

/// M9: unsolicited pongs leave nothing behind.
#[test]
fn m9_a_hundred_thousand_pongs() {
    let _turn = turn();
    runtime().block_on(async {
        let (mut ws, mut far) = idle_pair().await;
        let pong = [&[0x8a, 0x80 | 125, 0, 0, 0, 0][..], &[b'p'; 125]].concat();
        let batch = pong.repeat(100);
        warm_up(&mut ws);
        let before = HEAP.allocated();
        let peer = async {
            for _ in 0..1000 {
                far.write_all(&batch).await.unwrap();
            }
        };
        tokio::select! {
            received = ws.recv() => panic!("{received:?}"),
            () = peer => {}
        }
        let peak = HEAP.max_allocated() - before;
        assert!(peak <= 64 * KIB, "{peak} bytes");
    });
}

/// M10: what a large message took is given back, also by a connection that waits for the next one.
#[test]
fn m10_after_a_mebibyte() {
    let _turn = turn();
    runtime().block_on(async {
        let (mut ws, mut tcp) = over_tcp().await;
        let mut payload = vec![0; HEADER.len() + MIB];
        payload[..HEADER.len()].copy_from_slice(&HEADER);
        warm_up(&mut ws);
        let before = HEAP.allocated();
        let peer = std::thread::spawn(move || {
            tcp.write_all(&payload).unwrap();
            let mut echo = payload;
            tcp.read_exact(&mut echo[..MIB + 10]).unwrap();
            drop(echo);
            tcp
        });
        let message = ws.recv().await.unwrap().unwrap();
        ws.send(message).await.unwrap();
        let tcp = peer.join().unwrap();
        assert!(ws.recv().now_or_never().is_none());
        // The peer's buffer is gone as well, so what is left can only be less than before.
        let after = HEAP.allocated();
        let kept = (after + HEADER.len() + MIB).saturating_sub(before);
        assert!(kept <= 4 * KIB, "{kept} bytes");
        drop(tcp);
        let _ = ws.close(CloseCode::NORMAL, "").await;
    });
}

/// Output of which some always waits, because the peer reads as fast as it is written: what has left does not pile up.
#[test]
fn m8_output_that_never_comes_to_an_end() {
    let _turn = turn();
    runtime().block_on(async {
        let (mut ws, mut far) = idle_pair().await;
        let message = vec![7; KIB];
        let mut read = vec![0; KIB + 4];
        // A send that is dropped leaves its message to be written by those that follow.
        assert!(ws.send(vec![7; 32 * KIB]).now_or_never().is_none());
        let before = HEAP.allocated();
        for _ in 0..5000 {
            assert!(ws.send(message.clone()).now_or_never().is_none());
            // The rest of it goes out as the peer reads, and what was queued first keeps it from ever being all.
            let reading = far.read_exact(&mut read);
            tokio::select! {
                biased;
                flushed = ws.flush() => panic!("{flushed:?}"),
                result = reading => { result.unwrap(); }
            }
        }
        let peak = HEAP.max_allocated() - before;
        assert!(peak <= 128 * KIB, "{peak} bytes");
        assert!(ws.buffered_amount() <= 33 * KIB);
    });
}

/// A message of 64 MiB is written, echoed piece by piece, and read, each in constant memory.
#[test]
fn a_message_of_64_mebibytes_passes_in_constant_memory() {
    const LENGTH: u64 = 64 << 20;
    let _turn = turn();
    runtime().block_on(async {
        let (near, far) = tokio::io::duplex(64 * KIB);
        let client = sockeye::Client::builder().max_chunked_size(LENGTH).build().unwrap();
        let options = ServerOptions::builder().max_chunked_size(LENGTH).build().unwrap();
        let (near, far) = tokio::join!(client.connect_over(near, "ws://localhost/"), accept(far, &options));
        let (sender, mut receiver) = near.unwrap().split();
        let before = HEAP.allocated();
        let echo = tokio::spawn(async move {
            let (sender, mut receiver) = far.unwrap().split();
            while let Some(mut message) = receiver.read_message().await.unwrap() {
                let mut copy = sender.write_message(message.kind()).await.unwrap();
                while let Some(chunk) = message.chunk().await.unwrap() {
                    copy.write_all(&chunk).await.unwrap();
                }
                copy.finish().await.unwrap();
            }
        });
        let writing = tokio::spawn(async move {
            let mut message = sender.write_message(sockeye::MessageKind::Binary).await.unwrap();
            let part = vec![7; 10_000];
            let mut left = LENGTH as usize;
            while left > 0 {
                let length = left.min(part.len());
                message.write_all(&part[..length]).await.unwrap();
                left -= length;
            }
            message.finish().await.unwrap();
            sender.close(CloseCode::NORMAL, "").await.unwrap();
        });
        let mut message = receiver.read_message().await.unwrap().unwrap();
        let mut buffer = vec![0; 10_000];
        let mut length = 0;
        loop {
            let read = message.read(&mut buffer).await.unwrap();
            if read == 0 {
                break;
            }
            assert!(buffer[..read].iter().all(|byte| *byte == 7));
            length += read as u64;
        }
        assert_eq!(length, LENGTH);
        let peak = HEAP.max_allocated() - before;
        // Of two ends each: what is read into, what is gathered for a frame, a send queue of at most 1 MiB.
        assert!(peak <= 3 * MIB, "{peak} bytes");
        assert!(receiver.recv().await.unwrap().is_none());
        writing.await.unwrap();
        echo.await.unwrap();
    });
}
