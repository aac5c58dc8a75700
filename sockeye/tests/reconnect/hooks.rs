//! The hook before an attempt, and the one on the open connection.

use sockeye::reconnect::{Cause, Retry, State};
use sockeye::{CloseCode, Error};
use tokio::time::advance;

use crate::common::{
    SECOND, Server, StillClock, builder, code, deserted_url, settle, until_closed, until_open, until_waiting,
};

#[tokio::test(start_paused = true)]
async fn a_fresh_token_for_each_attempt() {
    let _clock = StillClock::new();
    let server = Server::bind().await;
    let client = builder(server.url())
        .before_attempt(|mut attempt| async move {
            tokio::task::yield_now().await;
            let token = format!("token-{}", attempt.number());
            attempt.set_bearer_auth(&token)?;
            attempt.add_header("X-Attempt", token)?;
            attempt.set_cookie("id=1")?;
            Ok(attempt)
        })
        .start()
        .unwrap();
    let mut states = client.states();
    for number in 1..=3 {
        let head = server.refuse(503, "").await;
        for line in [
            format!("Authorization: Bearer token-{number}\r\n"),
            format!("X-Attempt: token-{number}\r\n"),
            "Cookie: id=1\r\n".into(),
        ] {
            assert_eq!(head.matches(&line).count(), 1, "{head}");
        }
        // Nothing is left of the attempt before.
        assert_eq!(head.matches("X-Attempt").count(), 1, "{head}");
        advance(until_waiting(&mut states).await.0).await;
    }
}

#[tokio::test(start_paused = true)]
async fn another_url_and_another_client_for_one_attempt() {
    let _clock = StillClock::new();
    let (first, second) = (Server::bind().await, Server::bind().await);
    let (url, elsewhere) = (first.url(), format!("{}elsewhere", second.url()));
    let client = builder(url.clone())
        .before_attempt(move |mut attempt| {
            let (url, elsewhere) = (url.clone(), elsewhere.clone());
            async move {
                assert_eq!(attempt.url(), url);
                assert_eq!(attempt.last_cause().is_some(), attempt.number() > 1);
                if attempt.number() == 2 {
                    attempt.set_url(elsewhere);
                    attempt.set_client(sockeye::Client::builder().basic_auth("a", "b").build()?);
                }
                Ok(attempt)
            }
        })
        .start()
        .unwrap();
    let mut states = client.states();
    assert!(!first.refuse(503, "").await.contains("Authorization"));
    advance(until_waiting(&mut states).await.0).await;
    let head = second.refuse(503, "").await;
    assert!(head.starts_with("GET /elsewhere HTTP/1.1\r\n"), "{head}");
    assert!(head.contains("Authorization: Basic YTpi\r\n"), "{head}");
    advance(until_waiting(&mut states).await.0).await;
    assert!(!first.refuse(503, "").await.contains("Authorization"));
}

#[tokio::test(start_paused = true)]
async fn the_hook_goes_before_the_queue_on_each_connection() {
    let _clock = StillClock::new();
    let server = Server::bind().await;
    let mut client = builder(server.url())
        .on_open(|mut ws| async move {
            ws.send("subscribe").await?;
            assert_eq!(ws.recv().await?, Some("subscribed".into()));
            ws.send("ready").await?;
            Ok(ws)
        })
        .start()
        .unwrap();
    let mut states = client.states();
    for round in 0..3 {
        for part in ["a", "b"] {
            client.send(format!("{part}{round}")).await.unwrap();
        }
        let mut ws = server.accept().await;
        assert_eq!(ws.recv().await.unwrap(), Some("subscribe".into()));
        settle().await;
        // It is not open before the hook says so.
        assert!(matches!(client.state(), State::Connecting { .. }));
        ws.send("subscribed").await.unwrap();
        for expected in ["ready".into(), format!("a{round}"), format!("b{round}")] {
            assert_eq!(ws.recv().await.unwrap(), Some(expected.into()));
        }
        until_open(&mut states).await;
        ws.send(format!("news {round}")).await.unwrap();
        assert_eq!(client.recv().await.unwrap(), Some(format!("news {round}").into()));
        drop(ws);
        advance(until_waiting(&mut states).await.0).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_hook_that_fails_before_the_attempt() {
    let _clock = StillClock::new();
    let server = Server::bind().await;
    let client = builder(server.url())
        .before_attempt(|attempt| async move {
            match attempt.number() {
                1 => Err("the token server is away".into()),
                _ => Ok(attempt),
            }
        })
        .start()
        .unwrap();
    let mut states = client.states();
    let (delay, cause) = until_waiting(&mut states).await;
    assert!(matches!(&*cause, Cause::Hook(error) if error.to_string() == "the token server is away"));
    advance(delay).await;
    server.accept().await;
    until_open(&mut states).await;
}

/// What a hook passes on counts like the same outside of it.
#[tokio::test(start_paused = true)]
async fn a_connection_that_ends_in_the_hook() {
    let _clock = StillClock::new();
    let server = Server::bind().await;
    let client = builder(server.url())
        .on_open(|mut ws| async move {
            ws.send("login").await?;
            ws.recv().await?;
            Ok(ws)
        })
        .start()
        .unwrap();
    let mut states = client.states();

    drop(server.accept().await);
    let (delay, cause) = until_waiting(&mut states).await;
    assert!(
        matches!(&*cause, Cause::Hook(error) if error.is::<Error>()),
        "{cause:?}"
    );
    advance(delay).await;

    // Nothing that was queued is given to a connection that is closed.
    client.send("queued").await.unwrap();
    let mut ws = server.accept().await;
    assert_eq!(ws.recv().await.unwrap(), Some("login".into()));
    ws.close(CloseCode::TRY_AGAIN_LATER, "").await.unwrap();
    let (delay, cause) = until_waiting(&mut states).await;
    assert!(matches!(*cause, Cause::Closed(Some(_))), "{cause:?}");
    assert_eq!((delay, code(&cause)), (2 * SECOND, Some(1013)));
    assert_eq!(client.buffered_amount(), 6);
    advance(delay).await;

    let mut ws = server.accept().await;
    assert_eq!(ws.recv().await.unwrap(), Some("login".into()));
    ws.close(CloseCode::POLICY_VIOLATION, "").await.unwrap();
    assert_eq!(code(&*until_closed(&mut states).await), Some(1008));
}

#[tokio::test(start_paused = true)]
async fn a_hook_that_refuses_the_connection_for_good() {
    let _clock = StillClock::new();
    let server = Server::bind().await;
    let client = builder(server.url())
        .on_open(|_| async { Err("wrong version".into()) })
        .retry(|cause, usual| match cause {
            Cause::Hook(error) if error.to_string() == "wrong version" => Retry::Never,
            _ => usual,
        })
        .start()
        .unwrap();
    let mut ws = server.accept().await;
    assert!(matches!(*until_closed(&mut client.states()).await, Cause::Hook(_)));
    assert!(ws.recv().await.is_err());
}

/// It would block the queue for ever.
#[tokio::test(start_paused = true)]
async fn a_hook_that_leaves_a_message_half_sent() {
    let _clock = StillClock::new();
    let server = Server::bind().await;
    let mut client = builder(server.url())
        .on_open(|mut ws| async move {
            ws.send_fragment("half", false).await?;
            Ok(ws)
        })
        .start()
        .unwrap();
    let _ws = server.accept().await;
    client.send("queued").await.unwrap();
    let gone = client.recv().await.unwrap_err();
    assert!(matches!(gone.cause(), Cause::Lost(Error::Send(_))), "{gone:?}");
    assert_eq!(client.close(CloseCode::NORMAL, "").await.unwrap(), ["queued".into()]);
}

#[tokio::test(start_paused = true)]
async fn a_hook_that_panics_ends_it() {
    let client = builder(deserted_url().await)
        .before_attempt(|_| async { panic!("as the test asks") })
        .start()
        .unwrap();
    let sender = client.sender();
    assert!(matches!(*until_closed(&mut client.states()).await, Cause::Abandoned));
    assert!(sender.send("late").await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_hook_that_hangs_is_dropped_at_the_close() {
    let _clock = StillClock::new();
    let server = Server::bind().await;
    let client = builder(server.url())
        .on_open(|ws| async move {
            std::future::pending::<()>().await;
            Ok(ws)
        })
        .start()
        .unwrap();
    let mut ws = server.accept().await;
    client.send("kept").await.unwrap();
    settle().await;
    assert_eq!(client.close(CloseCode::NORMAL, "").await.unwrap(), ["kept".into()]);
    assert!(ws.recv().await.is_err());
}
