//! `close` and drop, in every state.

use std::time::Duration;

use sockeye::reconnect::{Cause, QueueError, State};
use sockeye::{CloseCode, Error, Message, SendError};
use tokio::time::{Instant, advance};

use crate::common::{
    SECOND, Server, StillClock, at_most, builder, deserted_url, settle, until_closed, until_open, until_waiting,
};

#[tokio::test(start_paused = true)]
async fn the_queue_goes_out_before_the_close() {
    let _clock = StillClock::new();
    let server = Server::bind().await;
    let mut client = builder(server.url()).start().unwrap();
    let mut states = client.states();
    let mut ws = server.accept().await;
    until_open(&mut states).await;
    let serving = tokio::spawn(async move {
        let mut count = 0;
        while let Some(message) = ws.recv().await.unwrap() {
            assert_eq!(message.len(), 5000);
            count += 1;
        }
        (count, ws.close_received())
    });
    for _ in 0..200 {
        client.try_send(vec![0; 5000]).unwrap();
    }
    assert!(client.close(CloseCode::new(4001), "done").await.unwrap().is_empty());
    assert_eq!(serving.await.unwrap(), (200, Some(CloseCode::new(4001))));
    assert!(matches!(*until_closed(&mut states).await, Cause::Requested));
    assert!(client.recv().await.unwrap().is_none());
}

#[tokio::test(start_paused = true)]
async fn what_had_arrived_can_be_received_after_the_close() {
    let _clock = StillClock::new();
    let server = Server::bind().await;
    let mut client = builder(server.url()).start().unwrap();
    let mut ws = server.accept().await;
    ws.send("before").await.unwrap();
    settle().await;
    let (closed, _) = tokio::join!(client.close(CloseCode::NORMAL, ""), async {
        while ws.recv().await.unwrap().is_some() {}
    });
    closed.unwrap();
    assert_eq!(client.recv().await.unwrap(), Some("before".into()));
    assert!(client.recv().await.unwrap().is_none());
}

#[tokio::test(start_paused = true)]
async fn while_an_attempt_is_under_way() {
    let _clock = StillClock::new();
    let server = Server::bind().await;
    let mut client = builder(server.url()).start().unwrap();
    client.send("unsent").await.unwrap();
    let _silent = server.tcp().await;
    let start = Instant::now();
    assert_eq!(client.close(CloseCode::NORMAL, "").await.unwrap(), ["unsent".into()]);
    assert_eq!(start.elapsed(), Duration::ZERO);
    assert!(client.recv().await.unwrap().is_none());
    // They are told once.
    assert!(client.close(CloseCode::NORMAL, "").await.unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn while_waiting() {
    let _clock = StillClock::new();
    let client = builder(deserted_url().await).start().unwrap();
    let mut states = client.states();
    until_waiting(&mut states).await;
    client.send("unsent").await.unwrap();
    assert_eq!(client.close(CloseCode::NORMAL, "").await.unwrap(), ["unsent".into()]);
    assert!(matches!(*until_closed(&mut states).await, Cause::Requested));
}

#[tokio::test(start_paused = true)]
async fn after_the_end() {
    let client = builder("no URL").start().unwrap();
    until_closed(&mut client.states()).await;
    assert_eq!(client.send("late").await, Err(QueueError::Closed("late".into())));
    assert!(client.close(CloseCode::NORMAL, "").await.unwrap().is_empty());
    assert!(matches!(client.state(), State::Closed { cause } if matches!(*cause, Cause::Connect(_))));
}

#[tokio::test(start_paused = true)]
async fn codes_and_reasons_that_must_not_be_sent() {
    let _clock = StillClock::new();
    let server = Server::bind().await;
    let client = builder(server.url()).start().unwrap();
    let mut ws = server.accept().await;
    for code in [0, 999, 1004, 1006, 1015, 2999, 5000] {
        assert_eq!(
            client.close(CloseCode::new(code), "").await,
            Err(SendError::InvalidCloseCode(code))
        );
    }
    assert_eq!(
        client.close(CloseCode::NORMAL, &"x".repeat(124)).await,
        Err(SendError::ReasonTooLong)
    );
    client.send("still open").await.unwrap();
    assert_eq!(ws.recv().await.unwrap(), Some("still open".into()));
    let longest = "x".repeat(123);
    let (closed, received) = tokio::join!(client.close(CloseCode::NORMAL, &longest), ws.recv());
    closed.unwrap();
    assert!(received.unwrap().is_none());
}

/// First what is queued has its time, then the Close does not even begin.
#[tokio::test(start_paused = true)]
async fn a_server_that_reads_nothing() {
    let _clock = StillClock::new();
    let server = Server::bind().await;
    let client = builder(server.url())
        .drain_timeout(3 * SECOND)
        .queue_bytes(usize::MAX)
        .start()
        .unwrap();
    let mut states = client.states();
    let _ws = server.accept().await;
    until_open(&mut states).await;
    for _ in 0..1000 {
        client.try_send(vec![0; 100_000]).unwrap();
    }
    let mut closing = Box::pin(client.close(CloseCode::NORMAL, ""));
    assert!(at_most(50, &mut closing).await.is_none());
    advance(3 * SECOND - Duration::from_millis(1)).await;
    assert!(at_most(50, &mut closing).await.is_none());
    advance(Duration::from_millis(1)).await;
    let unsent = closing.await.unwrap();
    // The system's buffers do not hold 100 MB.
    assert!(!unsent.is_empty() && unsent.iter().all(|message| message.len() == 100_000));
}

/// It has read everything, and does not answer the Close.
#[tokio::test(start_paused = true)]
async fn a_server_that_never_answers_the_close() {
    let _clock = StillClock::new();
    let server = Server::bind().await;
    let client = builder(server.url()).start().unwrap();
    let mut states = client.states();
    let _ws = server.accept().await;
    until_open(&mut states).await;
    let mut closing = Box::pin(client.close(CloseCode::NORMAL, ""));
    assert!(at_most(50, &mut closing).await.is_none());
    advance(5 * SECOND).await;
    assert!(closing.await.unwrap().is_empty());
}

/// It is lost instead of closed; nobody comes back after that.
#[tokio::test(start_paused = true)]
async fn a_server_that_goes_while_we_close() {
    let _clock = StillClock::new();
    let server = Server::bind().await;
    let client = builder(server.url()).start().unwrap();
    let mut states = client.states();
    let ws = server.accept().await;
    until_open(&mut states).await;
    let mut closing = Box::pin(client.close(CloseCode::NORMAL, ""));
    assert!(at_most(1, &mut closing).await.is_none());
    drop(ws);
    closing.await.unwrap();
    assert!(matches!(*until_closed(&mut states).await, Cause::Requested));
}

#[tokio::test(start_paused = true)]
async fn a_close_that_is_not_waited_for() {
    let _clock = StillClock::new();
    let server = Server::bind().await;
    let client = builder(server.url()).start().unwrap();
    let mut states = client.states();
    let mut ws = server.accept().await;
    until_open(&mut states).await;
    client.send("last").await.unwrap();
    assert!(at_most(1, client.close(CloseCode::new(4002), "")).await.is_none());
    assert!(client.send("too late").await.is_err());
    assert_eq!(ws.recv().await.unwrap(), Some("last".into()));
    assert!(ws.recv().await.unwrap().is_none());
    assert_eq!(ws.close_received(), Some(CloseCode::new(4002)));
    until_closed(&mut states).await;
}

#[tokio::test(start_paused = true)]
async fn dropping_ends_the_connection_and_the_task() {
    let _clock = StillClock::new();
    let server = Server::bind().await;
    let client = builder(server.url()).start().unwrap();
    let (sender, mut states) = (client.sender(), client.states());
    let mut ws = server.accept().await;
    until_open(&mut states).await;
    drop(client);
    assert_eq!(sender.send("late").await, Err(QueueError::Closed("late".into())));
    assert!(matches!(*until_closed(&mut states).await, Cause::Abandoned));
    assert!(matches!(ws.recv().await, Err(Error::ConnectionLost)));
    settle().await;
    assert_eq!(tokio::runtime::Handle::current().metrics().num_alive_tasks(), 0);
}

/// The task ends with its runtime; the handles do not wait for ever.
#[test]
fn a_runtime_that_ends() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let mut client = runtime.block_on(async {
        let server = Server::bind().await;
        let client = builder(server.url()).start().unwrap();
        server.accept().await;
        client
    });
    drop(runtime);
    let other = tokio::runtime::Builder::new_current_thread().build().unwrap();
    other.block_on(async {
        let gone = client.recv().await.unwrap_err();
        assert!(matches!(gone.cause(), Cause::Abandoned));
        assert_eq!(
            client.close(CloseCode::NORMAL, "").await.unwrap(),
            Vec::<Message>::new()
        );
    });
}
