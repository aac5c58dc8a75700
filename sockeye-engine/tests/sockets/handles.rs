//! Connections from tasks and threads.

use sockeye::CloseCode;
use sockeye_engine::{Cause, Delivery, TopicError};

use crate::common::{ask, start};

#[tokio::test]
async fn a_task_sends_subscribes_and_closes() {
    let mut running = start(2);
    let mut ws = running.connect("/7").await;
    let (number, handle) = running.opened().await;
    assert_eq!(number, 7);
    let publisher = running.engine.publisher();
    let task = tokio::spawn(async move {
        for number in 0..1000 {
            assert_eq!(handle.send(format!("{number}")), Delivery::Queued);
        }
        assert_eq!(handle.subscribe("a/#/b"), Err(TopicError::Misplaced));
        let _ = handle.subscribe("a/#").unwrap();
        let _ = handle.send("subscribed");
        handle
    });
    for number in 0..1000 {
        assert_eq!(ws.recv().await.unwrap(), Some(number.to_string().into()));
    }
    assert_eq!(ws.recv().await.unwrap(), Some("subscribed".into()));
    let handle = task.await.unwrap();
    let _ = publisher.publish("a/b/c", "published").unwrap();
    assert_eq!(ws.recv().await.unwrap(), Some("published".into()));
    handle.unsubscribe("a/#");
    handle.close(CloseCode::new(4000), &"x".repeat(200));
    // A Close has been sent: nothing follows it.
    let _ = handle.send("too late");
    assert_eq!(ws.recv().await.unwrap(), None);
    assert_eq!(ws.close_received().map(CloseCode::as_u16), Some(4000));
    assert_eq!(ws.close_reason_received().len(), 123);
    let ended = running.ended().await;
    assert!(ended.clean && ended.sent == Some(4000), "{ended:?}");
}

/// Places are used again, and a handle of who was there before reaches none that came after.
#[tokio::test]
async fn l5_a_handle_that_outlives_its_connection_reaches_nobody() {
    let mut running = start(1);
    let mut stale = Vec::new();
    for number in 0..20 {
        let mut ws = running.connect(&format!("/{number}")).await;
        stale.push(running.opened().await.1);
        ws.close(CloseCode::NORMAL, "").await.unwrap();
        running.ended().await;
    }
    let mut ws = running.connect("/21").await;
    let (_, live) = running.opened().await;
    for handle in &stale {
        let _ = handle.send("for somebody else");
        let _ = handle.subscribe("t");
        handle.close(CloseCode::GOING_AWAY, "");
        handle.terminate();
    }
    let _ = live.send("for you");
    assert_eq!(ws.recv().await.unwrap(), Some("for you".into()));
    let _ = running.engine.publisher().publish("t", "x").unwrap();
    assert_eq!(ask(&mut ws, "and nothing else").await, "and nothing else".into());
}

#[tokio::test]
async fn terminate_ends_it_without_a_close() {
    let mut running = start(1);
    let mut raw = running.raw().await;
    let (_, handle) = running.opened().await;
    handle.terminate();
    assert_eq!(raw.frame().await, None);
    let ended = running.ended().await;
    assert_eq!(
        (ended.cause, ended.sent, ended.clean),
        (Some(Cause::Terminated), None, false)
    );
}
