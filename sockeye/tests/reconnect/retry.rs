//! Which failures are followed by another attempt, and when.

use std::time::Duration;

use sockeye::reconnect::{Backoff, Cause, Reconnecting, Retry, State};
use sockeye::{Client, CloseCode, ConnectError, Error};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, advance};

use crate::common::{
    SECOND, Server, StillClock, at_most_attempts, builder, code, deserted_url, name, settle, until_closed, until_open,
    until_waiting,
};

#[tokio::test(start_paused = true)]
async fn waits_grow_and_attempts_end() {
    let _clock = StillClock::new();
    let start = Instant::now();
    let mut client = builder(deserted_url().await)
        .backoff(at_most_attempts(5))
        .start()
        .unwrap();
    let mut states = client.states();
    let mut seen = Vec::new();
    while let Some(state) = states.next().await {
        seen.push(name(&state));
        if let State::Waiting { delay, cause } = state {
            assert!(matches!(*cause, Cause::Connect(ConnectError::Connect(_))), "{cause:?}");
            advance(delay).await;
        }
    }
    assert_eq!(
        seen,
        [
            "connecting 1",
            "waiting 1s",
            "connecting 2",
            "waiting 2s",
            "connecting 3",
            "waiting 4s",
            "connecting 4",
            "waiting 8s",
            "connecting 5",
            "closed",
        ]
    );
    assert_eq!(start.elapsed(), 15 * SECOND);
    let gone = client.recv().await.unwrap_err();
    assert_eq!(gone.attempts(), 5);
    assert!(matches!(gone.cause(), Cause::Connect(_)));
    assert!(client.recv().await.unwrap().is_none());
}

#[tokio::test(start_paused = true)]
async fn no_attempt_before_its_time() {
    let _clock = StillClock::new();
    let client = builder(deserted_url().await).start().unwrap();
    let mut states = client.states();
    let (delay, _) = until_waiting(&mut states).await;
    advance(delay - Duration::from_millis(1)).await;
    settle().await;
    assert!(matches!(client.state(), State::Waiting { .. }));
    advance(Duration::from_millis(1)).await;
    assert!(matches!(states.next().await, Some(State::Connecting { attempt: 2 })));
}

#[tokio::test(start_paused = true)]
async fn the_jitter_is_asked_for_each_wait() {
    let _clock = StillClock::new();
    let mut eighths = 0_u64;
    let client = builder(deserted_url().await)
        .random(move || {
            eighths += 1;
            eighths << 61
        })
        .start()
        .unwrap();
    let mut states = client.states();
    for expected in [125, 500, 1500, 4000] {
        let (delay, _) = until_waiting(&mut states).await;
        assert_eq!(delay, Duration::from_millis(expected));
        advance(delay).await;
    }
}

async fn after_refusal(status: u16, headers: &str) -> State {
    let _clock = StillClock::new();
    let server = Server::bind().await;
    let mut client = builder(server.url()).start().unwrap();
    let mut states = client.states();
    states.next().await;
    server.refuse(status, headers).await;
    let state = states.next().await.unwrap();
    if let State::Closed { cause } = &state {
        assert_eq!(refused_status(cause), Some(status));
        let gone = client.recv().await.unwrap_err();
        assert_eq!((gone.attempts(), refused_status(gone.cause())), (1, Some(status)));
    }
    state
}

fn refused_status(cause: &Cause) -> Option<u16> {
    match cause {
        Cause::Connect(ConnectError::Refused(refusal)) => Some(refusal.status()),
        _ => None,
    }
}

#[tokio::test(start_paused = true)]
async fn statuses_that_pass() {
    for status in [429, 500, 502, 503, 504] {
        assert_eq!(name(&after_refusal(status, "").await), "waiting 1s", "{status}");
    }
}

#[tokio::test(start_paused = true)]
async fn statuses_that_stay() {
    for status in [400, 401, 403, 404, 407, 410, 426, 200, 302] {
        assert_eq!(
            name(&after_refusal(status, "Retry-After: 1\r\n").await),
            "closed",
            "{status}"
        );
    }
}

/// With the jitter of the first wait on top, which is at its most here.
#[tokio::test(start_paused = true)]
async fn retry_after_in_both_forms() {
    for (status, headers, expected) in [
        (503, "Retry-After: 120\r\n", "waiting 121s"),
        (429, "retry-after: 7\r\n", "waiting 8s"),
        (503, "Retry-After: 0\r\n", "waiting 1s"),
        (
            503,
            "Date: Fri, 20 Nov 2026 12:00:00 GMT\r\nRetry-After: Fri, 20 Nov 2026 12:00:30 GMT\r\n",
            "waiting 31s",
        ),
        (503, "Retry-After: Thu, 01 Jan 1970 00:00:00 GMT\r\n", "waiting 1s"),
        (503, "Retry-After: Fri, 31 Dec 9999 23:59:59 GMT\r\n", "waiting 3601s"),
        (503, "Retry-After: 99999999999999999999\r\n", "waiting 3601s"),
        (503, "Retry-After: soon\r\n", "waiting 1s"),
    ] {
        assert_eq!(name(&after_refusal(status, headers).await), expected, "{headers}");
    }
}

/// The server closes by this code; then the state after that.
async fn after_close(close: CloseCode) -> State {
    let _clock = StillClock::new();
    let server = Server::bind().await;
    let mut client = builder(server.url()).start().unwrap();
    let mut states = client.states();
    let mut ws = server.accept().await;
    until_open(&mut states).await;
    ws.close(close, "so long").await.unwrap();
    let state = states.next().await.unwrap();
    if let State::Closed { cause } | State::Waiting { cause, .. } = &state {
        assert_eq!(cause.close_code(), Some(close));
        match &**cause {
            Cause::Closed(Some(frame)) => assert_eq!(&*frame.reason, "so long"),
            other => panic!("{other:?}"),
        }
    }
    if let State::Closed { .. } = state {
        let end = client.recv().await;
        assert_eq!(end.is_ok(), close == CloseCode::NORMAL);
        assert!(client.recv().await.unwrap().is_none());
    }
    state
}

#[tokio::test(start_paused = true)]
async fn close_codes_that_pass() {
    for code in [1001, 1011, 1012, 1013, 1014] {
        assert_eq!(name(&after_close(code.into()).await), "waiting 1s", "{code}");
    }
}

#[tokio::test(start_paused = true)]
async fn close_codes_that_stay() {
    for code in [1000, 1002, 1003, 1007, 1008, 1009, 1010, 3000, 4000, 4999] {
        assert_eq!(name(&after_close(code.into()).await), "closed", "{code}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_close_without_a_code_is_an_end() {
    let _clock = StillClock::new();
    let server = Server::bind().await;
    let mut client = builder(server.url()).start().unwrap();
    let mut ws = server.accept().await;
    ws.close(CloseCode::NO_STATUS, "").await.unwrap();
    assert!(client.recv().await.unwrap().is_none());
    assert!(matches!(client.state(), State::Closed { cause } if matches!(*cause, Cause::Closed(None))));
}

/// 1006, by an end of the transport in good order and by a reset.
#[tokio::test(start_paused = true)]
async fn a_connection_that_is_dropped() {
    let _clock = StillClock::new();
    for reset in [false, true] {
        let server = Server::bind().await;
        let client = builder(server.url()).start().unwrap();
        let mut states = client.states();
        let ws = server.accept().await;
        until_open(&mut states).await;
        if reset {
            // What is unread when a socket is closed makes it a reset.
            client.send("unread").await.unwrap();
            ws.with_transport(TcpStream::set_zero_linger).unwrap();
        }
        drop(ws);
        let (delay, cause) = until_waiting(&mut states).await;
        assert_eq!((delay, code(&cause)), (SECOND, Some(1006)));
        advance(delay).await;
        server.accept().await;
        until_open(&mut states).await;
    }
}

/// We fail the connection, and a server that sends this will do it again.
#[tokio::test(start_paused = true)]
async fn a_server_that_breaks_the_protocol() {
    let _clock = StillClock::new();
    for (frame, expected) in [
        (b"\x81\x81\0\0\0\0a".as_slice(), 1002),
        (b"\x81\x01\xff", 1007),
        (b"\x82\x7f\0\0\0\0\x10\0\0\0", 1009),
    ] {
        let server = Server::bind().await;
        let mut client = builder(server.url()).start().unwrap();
        let mut ws = server.accept().await;
        ws.flush().await.unwrap();
        ws.with_transport(|tcp| tcp.try_write(frame)).unwrap();
        let (gone, closed) = tokio::join!(client.recv(), ws.recv());
        let gone = gone.unwrap_err();
        assert!(matches!(gone.cause(), Cause::Lost(Error::Protocol(_))), "{gone:?}");
        assert_eq!(code(gone.cause()), Some(expected));
        assert!(closed.unwrap().is_none());
        assert_eq!(ws.close_received(), Some(expected.into()));
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_never_answers() {
    let _clock = StillClock::new();
    let server = Server::bind().await;
    let client = builder(server.url()).start().unwrap();
    let mut states = client.states();
    let _silent = server.tcp().await;
    settle().await;
    advance(10 * SECOND).await;
    let (_, cause) = until_waiting(&mut states).await;
    assert!(matches!(*cause, Cause::Connect(ConnectError::Timeout)), "{cause:?}");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_hangs_up_in_the_handshake() {
    let _clock = StillClock::new();
    let server = Server::bind().await;
    let client = builder(server.url()).start().unwrap();
    let mut states = client.states();
    server.answer("HTTP/1.1 101 Swit").await;
    let (_, cause) = until_waiting(&mut states).await;
    assert!(matches!(*cause, Cause::Connect(ConnectError::Io(_))), "{cause:?}");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_speaks_something_else() {
    let _clock = StillClock::new();
    for answer in [
        "SSH-2.0-OpenSSH_10.0\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
    ] {
        let server = Server::bind().await;
        let client = builder(server.url()).start().unwrap();
        let mut states = client.states();
        server.answer(answer).await;
        let cause = until_closed(&mut states).await;
        assert!(
            matches!(*cause, Cause::Connect(ConnectError::Handshake(_))),
            "{cause:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_url_that_is_none() {
    let client = builder("http://localhost/").start().unwrap();
    let cause = until_closed(&mut client.states()).await;
    assert!(matches!(*cause, Cause::Connect(ConnectError::Uri(_))), "{cause:?}");
}

#[test]
fn outside_of_a_runtime() {
    let client = Client::builder().build().unwrap();
    Reconnecting::builder(client, "ws://localhost/").start().unwrap_err();
}

#[tokio::test(start_paused = true)]
async fn the_caller_decides_otherwise() {
    let _clock = StillClock::new();
    let server = Server::bind().await;
    let client = builder(server.url())
        .retry(|cause, usual| match code(cause) {
            Some(4001) => Retry::Later,
            Some(4002) => Retry::After(5 * SECOND),
            Some(1001) => Retry::Never,
            _ => usual,
        })
        .start()
        .unwrap();
    let mut states = client.states();
    for (code, expected) in [(4001, SECOND), (4002, 7 * SECOND), (1012, 4 * SECOND)] {
        let mut ws = server.accept().await;
        ws.close(CloseCode::new(code), "").await.unwrap();
        let (delay, _) = until_waiting(&mut states).await;
        assert_eq!(delay, expected, "{code}");
        advance(delay).await;
    }
    server.accept().await.close(CloseCode::GOING_AWAY, "").await.unwrap();
    assert_eq!(code(&*until_closed(&mut states).await), Some(1001));
}

/// Opened and lost at once is no better than refused.
#[tokio::test(start_paused = true)]
async fn a_server_that_drops_every_connection() {
    let _clock = StillClock::new();
    let server = Server::bind().await;
    let mut client = builder(server.url()).backoff(at_most_attempts(4)).start().unwrap();
    let mut states = client.states();
    for expected in [1, 2, 4] {
        drop(server.accept().await);
        let (delay, _) = until_waiting(&mut states).await;
        assert_eq!(delay, expected * SECOND);
        advance(delay).await;
    }
    drop(server.accept().await);
    until_closed(&mut states).await;
    assert_eq!(client.recv().await.unwrap_err().attempts(), 4);
}

#[tokio::test(start_paused = true)]
async fn a_stable_connection_begins_a_new_count() {
    let _clock = StillClock::new();
    let server = Server::bind().await;
    let backoff = Backoff::new().stable_after(20 * SECOND).max_attempts(Some(3));
    let client = builder(server.url()).backoff(backoff).start().unwrap();
    let mut states = client.states();
    drop(server.accept().await);
    advance(until_waiting(&mut states).await.0).await;
    for (open_for, expected) in [(19, 2), (20, 1), (0, 2)] {
        let ws = server.accept().await;
        until_open(&mut states).await;
        advance(open_for * SECOND).await;
        drop(ws);
        let (delay, _) = until_waiting(&mut states).await;
        assert_eq!(delay, expected * SECOND);
        advance(delay).await;
    }
    assert!(matches!(states.next().await, Some(State::Connecting { attempt: 2 })));
}

#[tokio::test(start_paused = true)]
async fn a_wait_that_is_cut_short() {
    let _clock = StillClock::new();
    let server = Server::bind().await;
    let start = Instant::now();
    let client = builder(server.url()).start().unwrap();
    // There is none to cut short yet, and this is not kept for the next.
    client.retry_now();
    let mut states = client.states();
    drop(server.accept().await);
    until_waiting(&mut states).await;
    settle().await;
    assert!(matches!(client.state(), State::Waiting { .. }));
    client.retry_now();
    server.accept().await;
    until_open(&mut states).await;
    assert_eq!(start.elapsed(), Duration::ZERO);
}

/// A half-closed connection is lost too, also to one who only sends.
#[tokio::test(start_paused = true)]
async fn a_server_that_ends_its_side() {
    let _clock = StillClock::new();
    let server = Server::bind().await;
    let client = builder(server.url()).start().unwrap();
    let mut states = client.states();
    let mut tcp = server.tcp().await;
    let head = crate::common::read_head(&mut tcp).await;
    let key = head
        .lines()
        .find_map(|line| line.strip_prefix("Sec-WebSocket-Key: "))
        .unwrap();
    let accept = sockeye::handshake::accept_key(key.as_bytes());
    let accept = std::str::from_utf8(&accept).unwrap();
    let head = format!(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: {accept}\r\n\r\n"
    );
    tcp.write_all(head.as_bytes()).await.unwrap();
    tcp.shutdown().await.unwrap();
    let (_, cause) = until_waiting(&mut states).await;
    assert_eq!(code(&cause), Some(1006));
    assert_eq!(tcp.read(&mut [0]).await.unwrap_or(0), 0);
}
