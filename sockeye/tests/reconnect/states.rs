//! The stream of states.

use futures_util::StreamExt;
use sockeye::CloseCode;
use sockeye::reconnect::State;
use tokio::time::advance;

use crate::common::{Server, StillClock, at_most, builder, deserted_url, name, until_open, until_waiting};

#[tokio::test(start_paused = true)]
async fn a_life_in_order() {
    let _clock = StillClock::new();
    let server = Server::bind().await;
    let client = builder(server.url()).start().unwrap();
    let states = client.states();
    let mut watched = client.states();
    server.refuse(503, "").await;
    advance(until_waiting(&mut watched).await.0).await;
    server
        .accept()
        .await
        .close(CloseCode::SERVICE_RESTART, "")
        .await
        .unwrap();
    advance(until_waiting(&mut watched).await.0).await;
    let mut ws = server.accept().await;
    until_open(&mut watched).await;
    let (closed, _) = tokio::join!(client.close(CloseCode::NORMAL, ""), ws.recv());
    closed.unwrap();
    // As a Stream, long after it all happened.
    let states: Vec<String> = states.map(|state| name(&state)).collect().await;
    assert_eq!(
        states,
        [
            "connecting 1",
            "waiting 1s",
            "connecting 2",
            "open",
            "waiting 2s",
            "connecting 3",
            "open",
            "closed",
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn a_stream_begins_with_the_state_now() {
    let _clock = StillClock::new();
    let server = Server::bind().await;
    let client = builder(server.url()).start().unwrap();
    let mut first = client.states();
    let _ws = server.accept().await;
    until_open(&mut first).await;
    let mut second = client.states();
    assert!(matches!(second.next().await, Some(State::Open)));
    assert!(at_most(5, second.next()).await.is_none());
    assert!(at_most(5, first.next()).await.is_none());
}

#[tokio::test(start_paused = true)]
async fn several_watch_and_none_misses_anything() {
    let _clock = StillClock::new();
    let client = builder(deserted_url().await)
        .backoff(crate::common::at_most_attempts(4))
        .start()
        .unwrap();
    let watching: Vec<_> = (0..3)
        .map(|_| {
            let states = client.states();
            tokio::spawn(states.map(|state| name(&state)).collect::<Vec<_>>())
        })
        .collect();
    let mut states = client.states();
    for _ in 0..3 {
        advance(until_waiting(&mut states).await.0).await;
    }
    for watching in watching {
        assert_eq!(watching.await.unwrap().len(), 8);
    }
}

#[tokio::test(start_paused = true)]
async fn who_is_late_skips_the_oldest() {
    let client = builder(deserted_url().await)
        .backoff(crate::common::at_most_attempts(100))
        .start()
        .unwrap();
    let states = client.states();
    let mut client = client;
    // The clock jumps from wait to wait.
    client.recv().await.unwrap_err();
    let states: Vec<_> = states.map(|state| name(&state)).collect().await;
    assert_eq!(states.len(), 64);
    assert_eq!(states[62], "connecting 100");
    assert_eq!(states[63], "closed");
}
