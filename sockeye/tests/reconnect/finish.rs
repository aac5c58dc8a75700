//! `finish`, in every state: it delivers first, and says how that went.

use std::sync::Arc;
use std::time::Duration;

use sockeye::reconnect::{Cause, Finished, QueueError, Reconnecting, State};
use sockeye::{CloseCode, Error, Message, SendError, Timeout};
use tokio::time::advance;

use crate::common::{
    SECOND, Server, StillClock, at_most, builder, deserted_url, settle, until_closed, until_open, until_waiting,
};

const MINUTE: Duration = Duration::from_secs(60);

fn unsent(finished: Finished) -> (Vec<Message>, Arc<Cause>) {
    match finished {
        Finished::Unsent { messages, cause } => (messages, cause),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn the_queue_goes_out_and_the_answers_come_in() {
    let _clock = StillClock::new();
    let server = Server::bind().await;
    let mut client = builder(server.url()).start().unwrap();
    let mut ws = server.accept().await;
    for number in 0..100 {
        client.try_send(format!("{number}")).unwrap();
    }
    let finishing = client.finish(CloseCode::new(4001), "done", MINUTE).unwrap();
    assert_eq!(client.send("late").await, Err(QueueError::Closed("late".into())));
    let serving = tokio::spawn(async move {
        while let Some(message) = ws.recv().await.unwrap() {
            ws.send(message).await.unwrap();
        }
        (ws.close_received(), ws.close_reason_received().to_owned())
    });
    for number in 0..100 {
        assert_eq!(client.recv().await.unwrap(), Some(format!("{number}").into()));
    }
    assert_eq!(client.recv().await.unwrap(), None);
    assert_eq!(serving.await.unwrap(), (Some(CloseCode::new(4001)), "done".into()));
    let Finished::Closed(Some(answer)) = finishing.await else {
        panic!("not answered");
    };
    assert_eq!(answer.code, CloseCode::new(4001));
    assert!(matches!(client.state(), State::Closed { cause } if matches!(*cause, Cause::Requested)));
}

/// More than the inbox holds, while nobody receives: it is held up, and not lost.
#[tokio::test(start_paused = true)]
async fn what_arrives_meanwhile_waits_to_be_received() {
    let _clock = StillClock::new();
    let server = Server::bind().await;
    let mut client = builder(server.url()).start().unwrap();
    let mut states = client.states();
    let mut ws = server.accept().await;
    until_open(&mut states).await;
    client.try_send("all of it").unwrap();
    let finishing = client.finish(CloseCode::NORMAL, "", MINUTE).unwrap();
    let serving = tokio::spawn(async move {
        assert_eq!(ws.recv().await.unwrap(), Some("all of it".into()));
        for _ in 0..50 {
            ws.send(vec![7; 10_000]).await.unwrap();
        }
        while ws.recv().await.unwrap().is_some() {}
    });
    settle().await;
    settle().await;
    assert!(matches!(client.state(), State::Open));
    for _ in 0..50 {
        assert_eq!(client.recv().await.unwrap(), Some(vec![7; 10_000].into()));
    }
    assert_eq!(client.recv().await.unwrap(), None);
    serving.await.unwrap();
    assert!(matches!(finishing.await, Finished::Closed(Some(_))));
}

/// Nobody receives, and so the peer's Close is never seen.
#[tokio::test(start_paused = true)]
async fn a_closing_handshake_is_not_held_up_for_longer_than_was_said() {
    let _clock = StillClock::new();
    let server = Server::bind().await;
    let client = builder(server.url()).start().unwrap();
    let mut states = client.states();
    let mut ws = server.accept().await;
    until_open(&mut states).await;
    let mut finishing = client.finish(CloseCode::NORMAL, "", MINUTE).unwrap();
    // Which is answered behind all that the system holds for us.
    let serving = tokio::spawn(async move {
        for _ in 0..3 {
            ws.send(vec![7; 60_000]).await.unwrap();
        }
        ws.recv().await
    });
    assert!(at_most(100, &mut finishing).await.is_none());
    advance(MINUTE).await;
    assert!(matches!(finishing.await, Finished::Unconfirmed(cause) if matches!(*cause, Cause::Expired)));
    serving.abort();
}

#[tokio::test(start_paused = true)]
async fn it_waits_for_a_connection_and_comes_back_for_what_is_queued() {
    let _clock = StillClock::new();
    let server = Server::bind().await;
    let client = builder(server.url()).start().unwrap();
    let mut states = client.states();
    client.try_send("one").unwrap();
    let finishing = client.finish(CloseCode::NORMAL, "", MINUTE).unwrap();
    // The first attempt and the second fail.
    drop(server.tcp().await);
    assert_eq!(until_waiting(&mut states).await.0, SECOND);
    advance(SECOND).await;
    server.refuse(503, "").await;
    assert_eq!(until_waiting(&mut states).await.0, 2 * SECOND);
    advance(2 * SECOND).await;
    let mut ws = server.accept().await;
    assert_eq!(ws.recv().await.unwrap(), Some("one".into()));
    assert_eq!(ws.recv().await.unwrap(), None);
    assert_eq!(ws.close_received(), Some(CloseCode::NORMAL));
    assert!(matches!(finishing.await, Finished::Closed(Some(_))));
    until_closed(&mut states).await;
}

#[tokio::test(start_paused = true)]
async fn the_time_is_over_exactly_when_it_is() {
    let _clock = StillClock::new();
    let mut client = builder(deserted_url().await).start().unwrap();
    let mut states = client.states();
    for message in ["one", "two"] {
        client.try_send(message).unwrap();
    }
    let mut finishing = client.finish(CloseCode::NORMAL, "", SECOND / 2).unwrap();
    until_waiting(&mut states).await;
    advance(SECOND / 2 - Duration::from_millis(1)).await;
    assert!(at_most(20, &mut finishing).await.is_none());
    advance(Duration::from_millis(1)).await;
    let (messages, cause) = unsent(finishing.await);
    assert!(matches!(*until_closed(&mut states).await, Cause::Expired));
    assert!(matches!(client.recv().await.unwrap_err().cause(), Cause::Expired));
    assert_eq!(messages, ["one".into(), "two".into()]);
    assert!(matches!(*cause, Cause::Expired));
}

#[tokio::test(start_paused = true)]
async fn the_time_is_over_while_an_attempt_is_under_way() {
    let _clock = StillClock::new();
    let server = Server::bind().await;
    let client = builder(server.url()).start().unwrap();
    client.try_send("one").unwrap();
    let _silent = server.tcp().await;
    let mut finishing = client.finish(CloseCode::NORMAL, "", SECOND).unwrap();
    assert!(at_most(20, &mut finishing).await.is_none());
    advance(SECOND).await;
    let (messages, _) = unsent(finishing.await);
    assert_eq!(messages, ["one".into()]);
}

/// A Close would never reach it behind all that.
#[tokio::test(start_paused = true)]
async fn a_server_that_reads_nothing() {
    let _clock = StillClock::new();
    let server = Server::bind().await;
    let client = builder(server.url()).queue_bytes(usize::MAX).start().unwrap();
    let mut states = client.states();
    let _ws = server.accept().await;
    until_open(&mut states).await;
    for _ in 0..1000 {
        client.try_send(vec![0; 100_000]).unwrap();
    }
    let mut finishing = client.finish(CloseCode::NORMAL, "", MINUTE).unwrap();
    assert!(at_most(50, &mut finishing).await.is_none());
    advance(MINUTE).await;
    let (messages, cause) = unsent(finishing.await);
    // The system's buffers do not hold 100 MB.
    assert!(!messages.is_empty() && messages.iter().all(|message| message.len() == 100_000));
    assert!(matches!(*cause, Cause::Expired));
}

#[tokio::test(start_paused = true)]
async fn a_server_that_never_answers_the_close() {
    let _clock = StillClock::new();
    let server = Server::bind().await;
    let client = builder(server.url()).start().unwrap();
    let mut states = client.states();
    let _ws = server.accept().await;
    until_open(&mut states).await;
    client.try_send("one").unwrap();
    let mut finishing = client.finish(CloseCode::NORMAL, "", MINUTE).unwrap();
    assert!(at_most(50, &mut finishing).await.is_none());
    advance(5 * SECOND).await;
    let Finished::Unconfirmed(cause) = finishing.await else {
        panic!("it has not answered");
    };
    assert!(
        matches!(*cause, Cause::Lost(Error::Timeout(Timeout::Close))),
        "{cause:?}"
    );
}

/// There is nothing to come back for: what was sent may have arrived or not.
#[tokio::test(start_paused = true)]
async fn a_connection_that_is_lost_in_the_closing_handshake() {
    let _clock = StillClock::new();
    let server = Server::bind().await;
    let mut client = builder(server.url()).start().unwrap();
    let mut states = client.states();
    let ws = server.accept().await;
    until_open(&mut states).await;
    client.try_send("one").unwrap();
    let mut finishing = client.finish(CloseCode::NORMAL, "", MINUTE).unwrap();
    assert!(at_most(20, &mut finishing).await.is_none());
    drop(ws);
    let Finished::Unconfirmed(cause) = finishing.await else {
        panic!("it has not answered");
    };
    assert_eq!(cause.close_code(), Some(CloseCode::ABNORMAL));
    assert!(matches!(*until_closed(&mut states).await, Cause::Lost(_)));
    assert!(client.recv().await.is_err());
}

#[tokio::test(start_paused = true)]
async fn nothing_queued_and_no_connection() {
    let _clock = StillClock::new();
    let mut client = builder(deserted_url().await).start().unwrap();
    until_waiting(&mut client.states()).await;
    let finished = client.finish(CloseCode::NORMAL, "", Duration::MAX).unwrap().await;
    assert!(matches!(finished, Finished::Unconfirmed(cause) if matches!(*cause, Cause::Requested)));
    assert_eq!(client.recv().await.unwrap(), None);
}

/// The time is for what is queued; the Close has its own.
#[tokio::test(start_paused = true)]
async fn nothing_queued_and_no_time() {
    let _clock = StillClock::new();
    let server = Server::bind().await;
    let client = builder(server.url()).start().unwrap();
    let mut states = client.states();
    let mut ws = server.accept().await;
    until_open(&mut states).await;
    let finishing = client.finish(CloseCode::NORMAL, "", Duration::ZERO).unwrap();
    assert_eq!(ws.recv().await.unwrap(), None);
    assert!(matches!(finishing.await, Finished::Closed(Some(_))));
}

#[tokio::test(start_paused = true)]
async fn a_failure_that_is_not_worth_another_attempt() {
    let _clock = StillClock::new();
    let server = Server::bind().await;
    let client = builder(server.url()).start().unwrap();
    client.try_send("one").unwrap();
    let finishing = client.finish(CloseCode::NORMAL, "", MINUTE).unwrap();
    server.refuse(403, "").await;
    let (messages, cause) = unsent(finishing.await);
    assert_eq!(messages, ["one".into()]);
    assert!(matches!(*cause, Cause::Connect(_)));
}

#[tokio::test(start_paused = true)]
async fn close_breaks_it_off_and_another_changes_nothing() {
    let _clock = StillClock::new();
    let client = builder(deserted_url().await).start().unwrap();
    until_waiting(&mut client.states()).await;
    client.try_send("one").unwrap();
    let first = client.finish(CloseCode::NORMAL, "", Duration::MAX).unwrap();
    let second = client.finish(CloseCode::NORMAL, "", Duration::ZERO).unwrap();
    settle().await;
    assert!(matches!(client.state(), State::Waiting { .. }));
    assert_eq!(client.close(CloseCode::NORMAL, "").await.unwrap(), ["one".into()]);
    for finishing in [first, second] {
        let finished = finishing.await;
        assert!(matches!(finished, Finished::Unconfirmed(cause) if matches!(*cause, Cause::Requested)));
    }
}

#[tokio::test(start_paused = true)]
async fn it_goes_on_without_anybody_who_waits_but_not_without_the_client() {
    let _clock = StillClock::new();
    let server = Server::bind().await;
    let client = builder(server.url()).start().unwrap();
    client.try_send("one").unwrap();
    drop(client.finish(CloseCode::NORMAL, "", MINUTE).unwrap());
    let mut ws = server.accept().await;
    assert_eq!(ws.recv().await.unwrap(), Some("one".into()));
    assert_eq!(ws.recv().await.unwrap(), None);
    until_closed(&mut client.states()).await;

    let client: Reconnecting = builder(deserted_url().await).start().unwrap();
    client.try_send("one").unwrap();
    let finishing = client.sender().finish(CloseCode::NORMAL, "", MINUTE).unwrap();
    drop(client);
    let (messages, cause) = unsent(finishing.await);
    assert_eq!(messages, ["one".into()]);
    assert!(matches!(*cause, Cause::Abandoned));
}

#[tokio::test(start_paused = true)]
async fn codes_and_reasons_that_must_not_be_sent() {
    let client = builder("no URL").start().unwrap();
    let refused = |code, reason: &str| client.finish(CloseCode::new(code), reason, MINUTE).unwrap_err();
    assert_eq!(refused(1006, ""), SendError::InvalidCloseCode(1006));
    assert_eq!(refused(1000, &"x".repeat(124)), SendError::ReasonTooLong);
}
