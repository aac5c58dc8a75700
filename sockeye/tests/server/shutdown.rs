//! Shutting down, with clients that answer and clients that do not.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use sockeye::{AcceptError, CloseCode, Error, SendError, Server, ServerOptions, ShutdownReport};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::common::{bound, close, connect, echo, http, is_echoed, raw, read_head, upgrade};

/// 1001 with the server's reason.
fn going_away() -> Vec<u8> {
    close(1001, "the server shuts down")
}

/// A masked Close with the same code, by which a client answers.
const ANSWER: [u8; 8] = [0x88, 0x82, 0, 0, 0, 0, 0x03, 0xe9];

fn counts(report: ShutdownReport) -> (usize, usize, usize) {
    (report.closed, report.dropped, report.handshakes)
}

/// The plain loop, in tasks of one's own.
fn accept_in_a_loop(server: &Server) -> tokio::task::JoinHandle<Vec<Result<(), Error>>> {
    let server = server.clone();
    tokio::spawn(async move {
        let mut tasks = tokio::task::JoinSet::new();
        while let Ok(incoming) = server.accept().await {
            tasks.spawn(async move { echo(incoming.accept().await.unwrap()).await });
        }
        tasks.join_all().await
    })
}

async fn everyone_is_there(server: &Server, count: usize) {
    while server.connections() < count {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn everyone_answers_in_the_plain_loop() {
    let (server, address) = bound(Server::builder()).await;
    let looping = accept_in_a_loop(&server);
    let mut clients = Vec::new();
    for _ in 0..20 {
        let mut ws = connect(address).await.unwrap();
        is_echoed(&mut ws).await;
        clients.push(tokio::spawn(async move {
            let ended = ws.recv().await;
            (ended.unwrap(), ws.close_received())
        }));
    }
    let report = server.shutdown(Duration::from_secs(60)).await;
    assert_eq!(counts(report), (20, 0, 0));
    for client in clients {
        assert_eq!(client.await.unwrap(), (None, Some(CloseCode::GOING_AWAY)));
    }
    assert!(looping.await.unwrap().iter().all(Result::is_ok));
    // Nobody listens any more.
    assert!(TcpStream::connect(address).await.is_err());
    assert!(server.accept().await.is_err());
}

#[tokio::test]
async fn halves_answer_too() {
    let (server, address) = bound(Server::builder()).await;
    let task = tokio::spawn({
        let server = server.clone();
        async move {
            let ws = server.accept().await.unwrap().accept().await.unwrap();
            let (_sender, mut receiver) = ws.split();
            receiver.recv().await.unwrap()
        }
    });
    let mut ws = connect(address).await.unwrap();
    everyone_is_there(&server, 1).await;
    let (report, received) = tokio::join!(server.shutdown(Duration::from_secs(60)), ws.recv());
    assert_eq!(received.unwrap(), None);
    assert_eq!(task.await.unwrap(), None);
    assert_eq!(counts(report), (1, 0, 0));
}

/// Three answer, two do not: the report comes at the deadline, and so does the end of those two.
#[tokio::test(start_paused = true)]
async fn who_does_not_answer_is_dropped_at_the_deadline() {
    let options = ServerOptions::builder().close_timeout(Duration::MAX).build().unwrap();
    let (server, address) = bound(Server::builder().options(options)).await;
    let looping = accept_in_a_loop(&server);
    let mut clients = Vec::new();
    for _ in 0..5 {
        clients.push(raw(address).await);
    }
    everyone_is_there(&server, 5).await;
    let start = Instant::now();
    let shutdown = tokio::spawn({
        let server = server.clone();
        async move { server.shutdown(Duration::from_secs(30)).await }
    });
    for (index, client) in clients.iter_mut().enumerate() {
        let mut told = vec![0; going_away().len()];
        client.read_exact(&mut told).await.unwrap();
        assert_eq!(told, going_away());
        if index < 3 {
            client.write_all(&ANSWER).await.unwrap();
            assert_eq!(client.read(&mut [0]).await.unwrap(), 0);
        }
    }
    assert_eq!(counts(shutdown.await.unwrap()), (3, 2, 0));
    assert_eq!(start.elapsed().as_secs(), 30);
    let ended = looping.await.unwrap();
    assert_eq!(ended.iter().filter(|ended| ended.is_ok()).count(), 3);
    assert_eq!(
        ended
            .iter()
            .filter(|ended| matches!(ended, Err(Error::Timeout(_))))
            .count(),
        2
    );
    assert_eq!(server.connections(), 0);
    for client in &mut clients[3..] {
        assert_eq!(client.read(&mut [0]).await.unwrap_or(0), 0);
    }
}

/// The close timeout of a connection holds also where the server would wait longer.
#[tokio::test(start_paused = true)]
async fn the_close_timeout_is_kept() {
    let (server, address) = bound(Server::builder()).await;
    let looping = accept_in_a_loop(&server);
    let _silent = raw(address).await;
    everyone_is_there(&server, 1).await;
    let start = Instant::now();
    let report = server.shutdown(Duration::from_secs(60)).await;
    assert_eq!(counts(report), (0, 1, 0));
    assert_eq!(start.elapsed().as_secs(), 5);
    looping.await.unwrap();
}

/// A client that reads nothing, and a server's task that waits in `send` for room.
#[tokio::test(start_paused = true)]
async fn a_task_that_waits_for_room() {
    let (server, address) = bound(Server::builder()).await;
    let sending = tokio::spawn({
        let server = server.clone();
        async move {
            let mut ws = server.accept().await.unwrap().accept().await.unwrap();
            loop {
                ws.send(vec![0; 1 << 20]).await?;
            }
            #[expect(unreachable_code, reason = "for the type")]
            Ok::<_, Error>(())
        }
    });
    let _deaf = raw(address).await;
    everyone_is_there(&server, 1).await;
    // Until it waits: a socket takes a few MiB.
    for _ in 0..1000 {
        tokio::task::yield_now().await;
    }
    let start = Instant::now();
    let report = server.shutdown(Duration::from_secs(2)).await;
    assert_eq!(counts(report), (0, 1, 0));
    assert_eq!(start.elapsed().as_secs(), 2);
    assert!(matches!(sending.await.unwrap(), Err(Error::Timeout(_))));
}

/// A task that only sends learns of it by its next message, and the closing handshake is finished all the same.
#[tokio::test(start_paused = true)]
async fn a_task_that_only_sends() {
    let (server, address) = bound(Server::builder()).await;
    let ticking = tokio::spawn({
        let server = server.clone();
        async move {
            let mut ws = server.accept().await.unwrap().accept().await.unwrap();
            loop {
                ws.send("tick").await?;
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
            #[expect(unreachable_code, reason = "for the type")]
            Ok::<_, Error>(())
        }
    });
    let mut ws = connect(address).await.unwrap();
    assert_eq!(ws.recv().await.unwrap(), Some("tick".into()));
    let client = tokio::spawn(async move {
        while ws.recv().await.unwrap().is_some() {}
        ws.close_received()
    });
    let report = server.shutdown(Duration::from_secs(60)).await;
    assert_eq!(counts(report), (1, 0, 0));
    assert!(matches!(ticking.await.unwrap(), Err(Error::Send(SendError::Closed))));
    assert_eq!(client.await.unwrap(), Some(CloseCode::GOING_AWAY));
}

/// A message that a task has received is answered, though the shutdown began while it thought about it.
#[tokio::test(start_paused = true)]
async fn a_task_that_thinks() {
    let (server, address) = bound(Server::builder()).await;
    let thinking = tokio::spawn({
        let server = server.clone();
        async move {
            let mut ws = server.accept().await.unwrap().accept().await.unwrap();
            while let Some(message) = ws.recv().await? {
                tokio::time::sleep(Duration::from_secs(3)).await;
                ws.send("first").await?;
                ws.send(message).await?;
            }
            Ok::<_, Error>(())
        }
    });
    let mut ws = connect(address).await.unwrap();
    ws.send("why?").await.unwrap();
    let client = tokio::spawn(async move {
        let answers = (ws.recv().await.unwrap(), ws.recv().await.unwrap());
        assert_eq!(answers, (Some("first".into()), Some("why?".into())));
        assert_eq!(ws.recv().await.unwrap(), None);
        ws.close_received()
    });
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    let report = server.shutdown(Duration::from_secs(60)).await;
    assert_eq!(counts(report), (1, 0, 0));
    thinking.await.unwrap().unwrap();
    assert_eq!(client.await.unwrap(), Some(CloseCode::GOING_AWAY));
}

/// What has been read when the shutdown begins is still answered; what comes after the Close is not, and does no harm.
#[tokio::test]
async fn what_has_arrived_is_answered() {
    let (server, address) = bound(Server::builder()).await;
    let looping = accept_in_a_loop(&server);
    let mut client = raw(address).await;
    everyone_is_there(&server, 1).await;
    client.write_all(&[0x81, 0x81, 0, 0, 0, 0, b'a']).await.unwrap();
    let mut echoed = [0; 3];
    client.read_exact(&mut echoed).await.unwrap();
    assert_eq!(echoed, [0x81, 1, b'a']);
    let shutdown = tokio::spawn({
        let server = server.clone();
        async move { server.shutdown(Duration::from_secs(60)).await }
    });
    let mut told = vec![0; going_away().len()];
    client.read_exact(&mut told).await.unwrap();
    assert_eq!(told, going_away());
    client
        .write_all(&[0x81, 0x81, 0, 0, 0, 0, b'b'].repeat(100))
        .await
        .unwrap();
    client.write_all(&ANSWER).await.unwrap();
    assert_eq!(client.read(&mut [0]).await.unwrap(), 0);
    assert_eq!(counts(shutdown.await.unwrap()), (1, 0, 0));
    assert!(looping.await.unwrap()[0].is_ok());
}

/// A client that sends without a pause until it is told.
#[tokio::test]
async fn a_client_that_floods() {
    let (server, address) = bound(Server::builder()).await;
    let looping = accept_in_a_loop(&server);
    let (mut reading, mut writing) = raw(address).await.into_split();
    let (told, mut stop) = tokio::sync::oneshot::channel();
    let flooding = tokio::spawn(async move {
        let frames = [0x81, 0x81, 0, 0, 0, 0, b'a'].repeat(1000);
        while stop.try_recv().is_err() {
            writing.write_all(&frames).await.unwrap();
        }
        writing.write_all(&ANSWER).await.unwrap();
        writing
    });
    let mut echoed = vec![0; 1 << 16];
    reading.read_exact(&mut echoed).await.unwrap();
    let draining = tokio::spawn(async move {
        let mut all = echoed;
        while !all.ends_with(&going_away()) {
            assert_ne!(reading.read_buf(&mut all).await.unwrap(), 0);
        }
        told.send(()).unwrap();
        reading
    });
    let report = server.shutdown(Duration::from_secs(600)).await;
    assert_eq!(counts(report), (1, 0, 0));
    drop((draining.await.unwrap(), flooding.await.unwrap()));
    assert!(looping.await.unwrap()[0].is_ok());
}

#[tokio::test]
async fn handshakes_under_way_end() {
    let (server, address) = bound(Server::builder()).await;
    let mut silent = TcpStream::connect(address).await.unwrap();
    let reading = tokio::spawn(server.accept().await.unwrap().accept());
    let asking = tokio::spawn(async move { http(address, &upgrade("/", "")).await });
    let request = server.accept().await.unwrap().upgrade().await.unwrap();
    let shutdown = tokio::spawn({
        let server = server.clone();
        async move { server.shutdown(Duration::from_secs(60)).await }
    });
    server.shutting_down().await;
    assert!(matches!(reading.await.unwrap(), Err(AcceptError::ShuttingDown)));
    assert_eq!(silent.read(&mut [0]).await.unwrap(), 0);
    // The application was thinking about it, and now it is too late.
    let accepted = request.accept(&ServerOptions::default()).await;
    assert!(matches!(accepted, Err(AcceptError::ShuttingDown)), "{accepted:?}");
    let answer = asking.await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    assert!(answer.contains("Retry-After: 5\r\n"), "{answer}");
    assert_eq!(counts(shutdown.await.unwrap()), (0, 0, 2));
}

/// `serve` ends when its tasks have; one that never waits for its connection is cancelled at the deadline.
#[tokio::test(start_paused = true)]
async fn serve_cancels_who_is_busy() {
    let (server, address) = bound(Server::builder()).await;
    let cancelled = Arc::new(AtomicUsize::new(0));
    let serving = tokio::spawn({
        let (server, cancelled) = (server.clone(), cancelled.clone());
        async move {
            let busy = move |ws| {
                let on_drop = OnDrop(cancelled.clone());
                async move {
                    let (_held, _told) = (ws, on_drop);
                    std::future::pending::<()>().await;
                }
            };
            server.serve(busy).await;
        }
    });
    let mut client = raw(address).await;
    everyone_is_there(&server, 1).await;
    let start = Instant::now();
    let report = server.shutdown(Duration::from_secs(7)).await;
    assert_eq!(counts(report), (0, 1, 0));
    serving.await.unwrap();
    assert_eq!(start.elapsed().as_secs(), 7);
    let mut left = Vec::new();
    let _ = client.read_to_end(&mut left).await;
    assert_eq!(cancelled.load(Ordering::Relaxed), 1);
    assert!(left.is_empty() || left == going_away(), "{left:?}");
}

struct OnDrop(Arc<AtomicUsize>);

impl Drop for OnDrop {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// The second signal of an impatient operator.
#[tokio::test(start_paused = true)]
async fn a_second_shutdown_may_be_earlier() {
    let (server, address) = bound(Server::builder()).await;
    let serving = tokio::spawn({
        let server = server.clone();
        async move {
            let busy = |ws| async move {
                std::future::pending::<()>().await;
                drop(ws);
            };
            server.serve(busy).await;
        }
    });
    let _client = raw(address).await;
    everyone_is_there(&server, 1).await;
    let start = Instant::now();
    let patient = tokio::spawn({
        let server = server.clone();
        async move { server.shutdown(Duration::from_secs(600)).await }
    });
    server.shutting_down().await;
    assert_eq!(counts(server.shutdown(Duration::from_secs(1)).await), (0, 1, 0));
    serving.await.unwrap();
    assert_eq!(counts(patient.await.unwrap()), (0, 1, 0));
    assert_eq!(start.elapsed().as_secs(), 1);
}

#[tokio::test]
async fn without_connections_it_is_done_at_once() {
    let (server, address) = bound(Server::builder()).await;
    let report = server.shutdown(Duration::MAX).await;
    assert_eq!(counts(report), (0, 0, 0));
    assert!(TcpStream::connect(address).await.is_err());
    let error = server.accept().await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::NotConnected);
}

/// A page that the client has not finished reading does not hold up the shutdown.
#[tokio::test]
async fn a_response_that_lingers() {
    let (server, address) = bound(Server::builder()).await;
    let mut client = TcpStream::connect(address).await.unwrap();
    client
        .write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .await
        .unwrap();
    let answering = tokio::spawn(server.accept().await.unwrap().accept());
    let head = read_head(&mut client).await;
    assert!(head.starts_with("HTTP/1.1 426 "), "{head}");
    assert_eq!(counts(server.shutdown(Duration::MAX).await), (0, 0, 1));
    assert!(matches!(answering.await.unwrap(), Err(AcceptError::Rejected(_))));
}
