//! R1 for the client that comes back: futures that are dropped at every await point. L3: it does nothing when there is
//! nothing to do.

use futures_util::StreamExt;
use sockeye::CloseCode;
use sockeye::reconnect::{Backoff, State, States};
use tokio::runtime::Handle;
use tokio::time::{advance, sleep};

use crate::common::{SECOND, Server, StillClock, at_most, builder, deserted_url, settle, until_open, until_waiting};

const MOST_POLLS: usize = 8;

/// A conversation over two connections, in which each call is dropped after so many polls, and made again.
async fn conversation(polls: usize) {
    let server = Server::bind().await;
    let mut client = builder(server.url())
        .backoff(Backoff::new().base(std::time::Duration::ZERO))
        .queue_messages(2)
        .start()
        .unwrap();
    let mut states = client.states();
    let echo = tokio::spawn(async move {
        for _ in 0..2 {
            let mut ws = server.accept().await;
            for _ in 0..20 {
                let message = ws.recv().await.unwrap().unwrap();
                ws.send(message).await.unwrap();
            }
            ws.close(CloseCode::SERVICE_RESTART, "").await.unwrap();
        }
        let mut ws = server.accept().await;
        while ws.recv().await.unwrap().is_some() {}
        ws.close_received()
    });
    for number in 0..40 {
        if number % 20 == 0 {
            // What is given to a connection that is about to end may be lost.
            open(&mut states, polls).await;
        }
        // It is queued or it is not, so it may be sent again.
        while at_most(polls, client.send(number.to_string()))
            .await
            .transpose()
            .unwrap()
            .is_none()
        {
            tokio::task::yield_now().await;
        }
        let received = loop {
            assert!(at_most(0, client.recv()).await.is_none());
            if let Some(received) = at_most(polls, client.recv()).await {
                break received.unwrap();
            }
            tokio::task::yield_now().await;
        };
        assert_eq!(received, Some(number.to_string().into()));
    }
    open(&mut states, polls).await;
    while at_most(polls, client.close(CloseCode::new(4003), "")).await.is_none() {
        tokio::task::yield_now().await;
    }
    assert_eq!(echo.await.unwrap(), Some(CloseCode::new(4003)));
}

async fn open(states: &mut States, polls: usize) {
    while !matches!(at_most(polls, states.next()).await, Some(Some(State::Open))) {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn r1_cancelled_everywhere_on_one_thread() {
    for polls in 1..=MOST_POLLS {
        conversation(polls).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r1_cancelled_everywhere_on_two_threads() {
    for polls in 1..=MOST_POLLS {
        conversation(polls).await;
    }
}

/// As a stream it is the same.
#[tokio::test(start_paused = true)]
async fn r1_the_stream_of_messages() {
    let _clock = StillClock::new();
    let server = Server::bind().await;
    let mut client = builder(server.url()).start().unwrap();
    let mut ws = server.accept().await;
    for number in 0..10 {
        ws.send(number.to_string()).await.unwrap();
    }
    ws.close(CloseCode::NORMAL, "").await.unwrap();
    for number in 0..10 {
        assert_eq!(client.next().await.unwrap().unwrap(), number.to_string().into());
    }
    assert!(client.next().await.is_none());
}

/// A clock that jumps ahead only when everything sleeps gets nowhere beside a task that does not.
#[tokio::test(start_paused = true)]
async fn l3_an_idle_connection_sleeps() {
    let clock = StillClock::new();
    let server = Server::bind().await;
    let client = builder(server.url()).start().unwrap();
    let mut states = client.states();
    let ws = server.accept().await;
    until_open(&mut states).await;
    settle().await;
    drop(clock);
    let metrics = Handle::current().metrics();
    let before = metrics.worker_park_count(0);
    // Less than it takes to be asked for a sign of life.
    sleep(15 * SECOND).await;
    assert!(metrics.worker_park_count(0) - before < 10);
    assert!(matches!(client.state(), State::Open));
    drop(ws);
}

#[tokio::test(start_paused = true)]
async fn l3_a_wait_sleeps() {
    let client = builder(deserted_url().await)
        .backoff(Backoff::new().base(3600 * SECOND).cap(3600 * SECOND))
        .start()
        .unwrap();
    until_waiting(&mut client.states()).await;
    // Full as well.
    while client.try_send("").is_ok() {}
    let metrics = Handle::current().metrics();
    let before = metrics.worker_park_count(0);
    sleep(3599 * SECOND).await;
    assert!(metrics.worker_park_count(0) - before < 10);
    assert!(matches!(client.state(), State::Waiting { .. }));
}

/// Blocked both ways: the server does not read, and nobody receives here.
#[tokio::test(start_paused = true)]
async fn l3_a_blocked_connection_sleeps() {
    let clock = StillClock::new();
    let server = Server::bind().await;
    let client = builder(server.url()).start().unwrap();
    let mut states = client.states();
    let mut ws = server.accept().await;
    until_open(&mut states).await;
    while at_most(100, ws.send(vec![0; 50_000])).await.is_some() {}
    while at_most(100, client.send(vec![0; 50_000])).await.is_some() {}
    settle().await;
    drop(clock);
    let metrics = Handle::current().metrics();
    let before = metrics.worker_park_count(0);
    sleep(15 * SECOND).await;
    assert!(metrics.worker_park_count(0) - before < 10);
}

/// Each failed attempt costs the same, and there are as many as the waits allow.
#[tokio::test(start_paused = true)]
async fn l3_a_server_that_refuses_is_asked_as_often_as_stated() {
    let _clock = StillClock::new();
    let server = Server::bind().await;
    let client = builder(server.url()).start().unwrap();
    let mut states = client.states();
    let mut attempts = 0;
    let mut elapsed = std::time::Duration::ZERO;
    while elapsed < 600 * SECOND {
        server.refuse(503, "").await;
        attempts += 1;
        let (delay, _) = until_waiting(&mut states).await;
        elapsed += delay;
        advance(delay).await;
    }
    // 1 + 2 + 4 + 8 + 16 + 32 = 63 s, and then once a minute.
    assert_eq!(attempts, 15);
}
