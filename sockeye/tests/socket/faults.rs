//! Operation 0, 1, 2 … of the transport fails, once or from then on; whatever it is, the connection ends in order.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use sockeye::{AcceptError, CloseCode, ConnectError, Error, Message, SendError, WebSocket, accept};
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};

use crate::common::options;

/// A transport whose operation number `at` fails.
#[derive(Debug)]
struct Faulty {
    io: DuplexStream,
    at: usize,
    /// Whether all that follow fail too.
    for_good: bool,
    count: usize,
}

impl Faulty {
    fn next(&mut self) -> io::Result<()> {
        let now = self.count;
        self.count += 1;
        if now == self.at || self.for_good && now > self.at {
            return Err(io::Error::other("as planned"));
        }
        Ok(())
    }

    fn has_failed(&self) -> bool {
        self.count > self.at
    }
}

impl AsyncRead for Faulty {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.next()?;
        Pin::new(&mut self.io).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Faulty {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.next()?;
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.next()?;
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.next()?;
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

fn is_planned(error: &io::Error) -> bool {
    // The kind is kept when the error itself has been told elsewhere.
    error.kind() == io::ErrorKind::Other
}

/// What the end with the faulty transport does; answers whether it finished without an error, and without the fault.
async fn converse(mut ws: WebSocket<Faulty>) -> (bool, bool) {
    let mut clean = true;
    for n in 0..3 {
        match ws.send(format!("message {n}, of some length")).await {
            Ok(()) => assert!(clean),
            Err(Error::Io(error)) => {
                assert!(is_planned(&error));
                clean = false;
            }
            // A `recv` before it has told the end.
            Err(Error::Send(SendError::Closed)) => assert!(!clean),
            Err(error) => panic!("{error:?}"),
        }
        match ws.recv().await {
            Ok(Some(_)) => {}
            Ok(None) => assert!(!clean),
            Err(Error::Io(error)) => {
                assert!(is_planned(&error));
                clean = false;
            }
            Err(error) => panic!("{error:?}"),
        }
    }
    match ws.close(CloseCode::NORMAL, "").await {
        Ok(()) => {}
        Err(Error::Io(error)) => {
            assert!(is_planned(&error));
            clean = false;
        }
        Err(error) => panic!("{error:?}"),
    }
    // An error is told once; after it, and after a clean end, comes nothing.
    assert_eq!(ws.recv().await.unwrap(), None);
    assert_eq!(ws.recv().await.unwrap(), None);
    assert!(matches!(ws.send("late").await, Err(Error::Send(SendError::Closed))));
    (clean, !ws.with_transport(Faulty::has_failed))
}

/// The healthy end: echoes, and never sees a frame that was cut short and went on as another.
async fn echo(mut ws: WebSocket<DuplexStream>) -> Vec<Message> {
    let mut received = Vec::new();
    loop {
        match ws.recv().await {
            Ok(Some(message)) => {
                received.push(message.clone());
                if ws.send(message).await.is_err() {
                    continue;
                }
            }
            Ok(None) => break,
            Err(Error::ConnectionLost | Error::Io(_) | Error::Timeout(_)) => break,
            Err(error) => panic!("{error:?}"),
        }
    }
    assert_eq!(ws.recv().await.unwrap(), None);
    received
}

/// Runs the conversation with operation 0, 1, 2 … failing until none fails any more.
async fn all_faults(for_good: bool, faulty_client: bool) {
    let (client, server) = options(false);
    for at in 0.. {
        assert!(at < 200, "the conversation has an end");
        let (near, far) = tokio::io::duplex(16);
        let near = Faulty {
            io: near,
            at,
            for_good,
            count: 0,
        };
        let (faulty, healthy) = if faulty_client {
            let (near, far) = tokio::join!(client.connect_over(near, "ws://localhost/"), async {
                accept(far, &server).await.ok()
            });
            if let Err(error) = &near {
                assert!(
                    matches!(error, ConnectError::Io(error) if is_planned(error)),
                    "{error:?}"
                );
            }
            (near.ok(), far)
        } else {
            let (near, far) = tokio::join!(accept(near, &server), async {
                client.connect_over(far, "ws://localhost/").await.ok()
            });
            if let Err(error) = &near {
                assert!(
                    matches!(error, AcceptError::Io(error) if is_planned(error)),
                    "{error:?}"
                );
            }
            (near.ok(), far)
        };
        let (Some(faulty), Some(healthy)) = (faulty, healthy) else {
            continue;
        };
        let healthy = tokio::spawn(echo(healthy));
        assert!(
            !faulty.with_transport(Faulty::has_failed),
            "an error in the handshake fails the handshake"
        );
        let (clean, faultless) = converse(faulty).await;
        let received = healthy.await.unwrap();
        let sent: Vec<Message> = (0..3).map(|n| format!("message {n}, of some length").into()).collect();
        assert!(sent.starts_with(&received), "{received:?}");
        if clean {
            assert_eq!(received, sent);
        }
        if faultless {
            assert!(clean);
            return;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn every_operation_of_a_client_fails_once() {
    all_faults(false, true).await;
}

#[tokio::test(start_paused = true)]
async fn every_operation_of_a_client_fails_for_good() {
    all_faults(true, true).await;
}

#[tokio::test(start_paused = true)]
async fn every_operation_of_a_server_fails_once() {
    all_faults(false, false).await;
}

#[tokio::test(start_paused = true)]
async fn every_operation_of_a_server_fails_for_good() {
    all_faults(true, false).await;
}
