//! Limits at their borders: the last that is taken, the first that is not, and the place that becomes free.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use sockeye::handshake::Rejection;
use sockeye::{AcceptError, Full, Limits, Listener, Server};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::mpsc;

use crate::common::{bound, connect, echo, http, is_echoed, poll_once, read_head, upgrade};

fn serve(server: &Server) -> tokio::task::JoinHandle<()> {
    let server = server.clone();
    tokio::spawn(async move { server.serve(echo).await })
}

/// Beyond the limit connections wait, and are served when there is room.
#[tokio::test]
async fn the_connection_after_the_last_waits() {
    let (server, address) = bound(Server::builder().limits(Limits::new().connections(2))).await;
    let first = server.accept();
    let (_one, first) = (TcpStream::connect(address).await.unwrap(), first.await.unwrap());
    let (_two, _second) = (
        TcpStream::connect(address).await.unwrap(),
        server.accept().await.unwrap(),
    );
    assert_eq!(server.connections(), 2);
    // The system has taken the third, the server has not.
    let mut three = TcpStream::connect(address).await.unwrap();
    three.write_all(upgrade("/", "").as_bytes()).await.unwrap();
    let mut accepting = Box::pin(server.accept());
    assert!(poll_once(&mut accepting).await.is_none());
    assert_eq!(server.connections(), 2);
    drop(first);
    let mut ws = accepting.await.unwrap().accept().await.unwrap();
    assert!(read_head(&mut three).await.starts_with("HTTP/1.1 101 "));
    ws.send("at last").await.unwrap();
    assert_eq!(server.connections(), 2);
}

/// A place is taken until the transport is gone, not just until the handshake is over.
#[tokio::test]
async fn beyond_the_limit_clients_are_told_to_come_back() {
    let limits = Limits::new().connections(2).refuse_when_full(true);
    let (server, address) = bound(Server::builder().limits(limits)).await;
    let serving = serve(&server);
    let (mut one, mut two) = (connect(address).await.unwrap(), connect(address).await.unwrap());
    is_echoed(&mut one).await;
    is_echoed(&mut two).await;
    for _ in 0..3 {
        let answer = http(address, &upgrade("/", "")).await;
        assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
        assert!(answer.contains("Connection: close\r\n"), "{answer}");
        assert!(answer.contains("Retry-After: 5\r\n"), "{answer}");
        assert!(
            answer.ends_with("the server has as many connections as it takes\n"),
            "{answer}"
        );
    }
    one.close(sockeye::CloseCode::NORMAL, "").await.unwrap();
    while server.connections() == 2 {
        tokio::task::yield_now().await;
    }
    is_echoed(&mut connect(address).await.unwrap()).await;
    is_echoed(&mut two).await;
    serving.abort();
}

/// Whole seconds, and never fewer than were asked for.
#[tokio::test]
async fn when_to_come_back() {
    for (wait, expected) in [
        (Some(Duration::ZERO), Some("0")),
        (Some(Duration::from_millis(1)), Some("1")),
        (Some(Duration::from_secs(120)), Some("120")),
        (Some(Duration::MAX), Some("18446744073709551615")),
        (None, None),
    ] {
        let limits = Limits::new().connections(0).refuse_when_full(true).retry_after(wait);
        let (server, address) = bound(Server::builder().limits(limits)).await;
        let serving = serve(&server);
        let answer = http(address, &upgrade("/", "")).await;
        assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
        let said = answer.lines().find_map(|line| line.strip_prefix("Retry-After: "));
        assert_eq!(said, expected, "{answer}");
        serving.abort();
    }
}

async fn connect_from(from: Ipv4Addr, to: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::from((from, 0))).unwrap();
    let mut tcp = socket.connect(to).await.unwrap();
    tcp.write_all(upgrade("/", "").as_bytes()).await.unwrap();
    tcp
}

/// All of 127.0.0.0/8 is the loopback, so that one machine has many addresses.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn an_address_has_so_many_and_another_is_not_held_up() {
    let limits = Limits::new().connections_per_address(2);
    let (server, address) = bound(Server::builder().limits(limits)).await;
    let serving = serve(&server);
    let (greedy, other) = (Ipv4Addr::new(127, 0, 0, 2), Ipv4Addr::new(127, 0, 0, 3));
    let mut held = Vec::new();
    for from in [greedy, greedy, other, other] {
        let mut tcp = connect_from(from, address).await;
        let head = read_head(&mut tcp).await;
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        held.push(tcp);
    }
    for from in [greedy, other] {
        let mut answer = String::new();
        let mut tcp = connect_from(from, address).await;
        tcp.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    }
    drop(held.swap_remove(0));
    while server.connections() == 4 {
        tokio::task::yield_now().await;
    }
    let mut tcp = connect_from(greedy, address).await;
    assert!(read_head(&mut tcp).await.starts_with("HTTP/1.1 101 "));
    serving.abort();
}

#[tokio::test]
async fn the_application_learns_which_limit_it_was() {
    for (limits, full) in [
        (Limits::new().connections(0).refuse_when_full(true), Full::Connections),
        (Limits::new().connections_per_address(0), Full::Address),
    ] {
        let (server, address) = bound(Server::builder().limits(limits)).await;
        let client = tokio::spawn(async move { http(address, &upgrade("/", "")).await });
        let accepted = server.accept().await.unwrap().accept().await;
        assert!(
            matches!(accepted, Err(AcceptError::Full(known)) if known == full),
            "{accepted:?}"
        );
        assert!(client.await.unwrap().starts_with("HTTP/1.1 503 "));
        assert_eq!(server.connections(), 0);
    }
}

/// The third handshake is not begun before one of the first two is over: answered, refused, or given up.
#[tokio::test]
async fn handshakes_under_way() {
    let (server, address) = bound(Server::builder().limits(Limits::new().handshakes(2))).await;
    let _clients = [
        TcpStream::connect(address).await.unwrap(),
        TcpStream::connect(address).await.unwrap(),
        TcpStream::connect(address).await.unwrap(),
        TcpStream::connect(address).await.unwrap(),
        TcpStream::connect(address).await.unwrap(),
    ];
    let [mut first, second, ..] = _clients;
    let one = server.accept().await.unwrap();
    let two = server.accept().await.unwrap();
    assert!(poll_once(server.accept()).await.is_none());
    // Answered: the connection stays, the handshake does not.
    first.write_all(upgrade("/", "").as_bytes()).await.unwrap();
    let ws = one.accept().await.unwrap();
    let three = server.accept().await.unwrap();
    assert!(poll_once(server.accept()).await.is_none());
    // Given up.
    drop(three);
    let _four = server.accept().await.unwrap();
    assert!(poll_once(server.accept()).await.is_none());
    // Refused: over when the client has its answer and is gone.
    let mut second = second;
    second.write_all(upgrade("/", "").as_bytes()).await.unwrap();
    let request = two.upgrade().await.unwrap();
    assert!(poll_once(server.accept()).await.is_none());
    let rejecting = tokio::spawn(request.reject(Rejection::new(403)));
    let mut answer = String::new();
    second.read_to_string(&mut answer).await.unwrap();
    assert!(poll_once(server.accept()).await.is_none());
    drop(second);
    rejecting.await.unwrap().unwrap();
    let _five = server.accept().await.unwrap();
    drop(ws);
}

/// Waiting for a connection and giving up takes no place for good.
#[tokio::test]
async fn an_accept_that_is_dropped_leaks_nothing() {
    let (server, address) = bound(Server::builder().limits(Limits::new().connections(1).handshakes(1))).await;
    for _ in 0..3 {
        assert!(poll_once(server.accept()).await.is_none());
    }
    let _client = TcpStream::connect(address).await.unwrap();
    let incoming = server.accept().await.unwrap();
    drop(incoming);
    assert!(poll_once(server.accept()).await.is_none());
    assert_eq!(server.connections(), 0);
}

/// Several listeners and several tasks that wait: each connection comes to one of them, none is forgotten.
#[tokio::test]
async fn many_tasks_wait_at_many_listeners() {
    let server = Server::builder()
        .listener(Listener::bind("127.0.0.1:0").await.unwrap())
        .listener(Listener::bind("127.0.0.1:0").await.unwrap())
        .build();
    let addresses: Vec<_> = server.addresses().iter().filter_map(sockeye::Address::tcp).collect();
    assert_eq!(addresses.len(), 2);
    let (accepted, mut all) = mpsc::unbounded_channel();
    for _ in 0..3 {
        let (server, accepted) = (server.clone(), accepted.clone());
        tokio::spawn(async move {
            while let Ok(incoming) = server.accept().await {
                accepted.send(incoming).unwrap();
            }
        });
    }
    let mut clients = Vec::new();
    for index in 0..12 {
        clients.push(TcpStream::connect(addresses[index % 2]).await.unwrap());
    }
    for _ in 0..12 {
        drop(all.recv().await.unwrap());
    }
}

/// In a process of its own, which has few file descriptors.
#[cfg(target_os = "linux")]
#[test]
fn accepting_goes_on_after_emfile() {
    let status = std::process::Command::new("sh")
        .args([
            "-c",
            "ulimit -n 40 && exec \"$0\" --ignored --exact limits::without_descriptors",
        ])
        .arg(std::env::current_exe().unwrap())
        .status();
    assert!(status.unwrap().success());
}

/// The server asks again when one of its connections has ended, and does not ask all the time.
#[cfg(target_os = "linux")]
#[tokio::test(start_paused = true)]
#[ignore = "uses up the descriptors of its process; run by accepting_goes_on_after_emfile"]
async fn without_descriptors() {
    let told = Arc::new(AtomicUsize::new(0));
    let telling = told.clone();
    let builder = Server::builder().on_accept_error(move |error| {
        assert_eq!(error.raw_os_error(), Some(24), "{error}");
        telling.fetch_add(1, Ordering::Relaxed);
    });
    let (server, address) = bound(builder).await;
    let _client = TcpStream::connect(address).await.unwrap();
    let first = server.accept().await.unwrap();
    let waiting = TcpStream::connect(address).await.unwrap();
    let mut files = Vec::new();
    let error = loop {
        match std::fs::File::open("/dev/null") {
            Ok(file) => files.push(file),
            Err(error) => break error,
        }
    };
    assert_eq!(error.raw_os_error(), Some(24), "{error}");

    let mut accepting = std::pin::pin!(server.accept());
    let mut polls = 0;
    let hour = tokio::time::sleep(Duration::from_secs(3600));
    let mut hour = std::pin::pin!(hour);
    std::future::poll_fn(|cx| {
        polls += 1;
        assert!(accepting.as_mut().poll(cx).is_pending());
        hour.as_mut().poll(cx)
    })
    .await;
    // After 10 ms, 20 ms, … and then once a second.
    assert!((3600..3700).contains(&polls), "{polls}");
    let told = told.load(Ordering::Relaxed);
    assert!((3600..3700).contains(&told), "{told}");

    drop(first);
    let second = accepting.await.unwrap();
    assert_eq!(second.peer_addr().tcp(), Some(waiting.local_addr().unwrap()));
}
