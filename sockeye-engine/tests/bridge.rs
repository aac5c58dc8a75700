//! Connections as tasks: both directions, flow control, and the end from either side.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use sockeye::{Client, CloseCode, Message, WebSocket, transport::Stream};
use sockeye_engine::{
    Bridge, Cause, Ended, Engine, EngineBuilder, ManualClock, Rejection, ServerOptions, Session, SessionError,
};
use tokio::runtime::Handle;
use tokio::sync::mpsc::unbounded_channel;

const KIB: usize = 1 << 10;

fn start<F, T>(options: ServerOptions, bridge: impl Fn(Handle) -> Bridge<F> + Send + Sync + 'static) -> Engine
where
    F: Fn(Session) -> T + 'static,
    T: Future<Output = ()> + Send + 'static,
{
    start_by(Engine::builder(options), bridge)
}

fn start_by<F, T>(builder: EngineBuilder, bridge: impl Fn(Handle) -> Bridge<F> + Send + Sync + 'static) -> Engine
where
    F: Fn(Session) -> T + 'static,
    T: Future<Output = ()> + Send + 'static,
{
    let runtime = Handle::current();
    let builder = builder.listen("127.0.0.1:0").unwrap().threads(1);
    builder.start(move |_| bridge(runtime.clone())).unwrap()
}

async fn connect(engine: &Engine, path: &str) -> WebSocket<Stream> {
    let url = format!("ws://{}{path}", engine.local_addrs()[0]);
    sockeye::connect(&url).await.unwrap()
}

async fn echo(mut session: Session) {
    while let Ok(message) = session.recv().await {
        if session.send(message).await.is_err() {
            break;
        }
    }
}

fn metric(engine: &Engine, name: &str) -> u64 {
    let text = engine.metrics();
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap().parse().unwrap()
}

#[tokio::test]
async fn a_task_echoes_and_is_told_of_the_end() {
    let (tell, mut told) = unbounded_channel();
    let engine = start(ServerOptions::default(), move |runtime| {
        let tell = tell.clone();
        Bridge::new(runtime, move |mut session: Session| {
            let tell = tell.clone();
            async move {
                assert_eq!(session.request().path(), "/room");
                assert!(session.peer_addr().unwrap().ip().is_loopback() && session.subprotocol().is_none());
                let ended = loop {
                    match session.recv().await {
                        Ok(message) => session.send(message).await.unwrap(),
                        Err(ended) => break ended,
                    }
                };
                assert_eq!(session.recv().await, Err(ended.clone()), "again each time");
                assert_eq!(session.send("too late").await, Err(SessionError::Ended));
                tell.send(ended).unwrap();
            }
        })
    });
    let mut ws = connect(&engine, "/room").await;
    for number in 0..1000 {
        ws.send(number.to_string()).await.unwrap();
    }
    for number in 0..1000 {
        assert_eq!(ws.recv().await.unwrap(), Some(number.to_string().into()));
    }
    ws.close(CloseCode::new(4001), "enough").await.unwrap();
    let ended: Ended = told.recv().await.unwrap();
    assert_eq!(
        (ended.code.as_u16(), &*ended.reason, ended.clean),
        (4001, "enough", true)
    );
    // Without a word.
    drop(connect(&engine, "/room").await);
    let ended = told.recv().await.unwrap();
    assert!(!ended.clean, "{ended:?}");
}

#[tokio::test]
async fn requests_are_looked_at_and_tasks_that_end_close() {
    let engine = start(ServerOptions::default(), |runtime| {
        Bridge::new(runtime, |session: Session| async move {
            match session.request().path() {
                "/bye" => session.close(CloseCode::new(4002), "bye"),
                "/panic" => panic!("asked to"),
                _ => session.send("hello").await.unwrap(),
            }
            // Nothing more can be sent after that.
            if session.request().path() == "/bye" {
                assert_eq!(session.send("more").await, Err(SessionError::Closing));
            }
        })
        .accept(|upgrade| match upgrade.request().path() {
            "/nobody" => Err(Rejection::new(404)),
            _ => Ok(()),
        })
    });
    let url = format!("ws://{}/nobody", engine.local_addrs()[0]);
    assert!(sockeye::connect(&url).await.is_err());
    for (path, code) in [("/", 1000), ("/bye", 4002), ("/panic", 1011)] {
        let mut ws = connect(&engine, path).await;
        if path == "/" {
            // What was sent goes first.
            assert_eq!(ws.recv().await.unwrap(), Some("hello".into()));
        }
        assert_eq!(ws.recv().await.unwrap(), None);
        assert_eq!(ws.close_received().map(CloseCode::as_u16), Some(code), "{path}");
    }
}

/// The peer reads nothing: the task waits, and what waits for the peer is bounded. Nothing is lost when the peer reads.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_does_not_read_makes_the_task_wait() {
    const MESSAGES: usize = 4000;
    let sent = Arc::new(AtomicUsize::new(0));
    let counter = sent.clone();
    let engine = start(ServerOptions::default(), move |runtime| {
        let counter = counter.clone();
        Bridge::new(runtime, move |session: Session| {
            let counter = counter.clone();
            async move {
                for number in 0..MESSAGES {
                    let mut message = vec![0; 16 * KIB];
                    message[..8].copy_from_slice(&number.to_be_bytes());
                    session.send(message).await.unwrap();
                    assert!(session.sender().buffered_amount() <= 64 * KIB);
                    counter.fetch_add(1, Ordering::Relaxed);
                }
            }
        })
    });
    let mut ws = connect(&engine, "/").await;
    // 62 MiB do not fit into what the system holds for a connection: the queue is in use, with one message and its header.
    while metric(&engine, "sockeye_engine_queued_bytes") == 0 {
        tokio::task::yield_now().await;
    }
    assert!(metric(&engine, "sockeye_engine_queued_bytes") <= (16 * KIB + 14) as u64);
    assert!(sent.load(Ordering::Relaxed) < MESSAGES);
    for number in 0..MESSAGES {
        let message = ws.recv().await.unwrap().unwrap();
        assert_eq!(message.as_bytes()[..8], number.to_be_bytes());
    }
    assert_eq!(ws.recv().await.unwrap(), None);
    assert_eq!(metric(&engine, "sockeye_engine_dropped_total{where=\"send\"}"), 0);
}

/// The task receives nothing: the peer is held up, and what waits for the task is bounded. Nothing is lost when it receives,
/// and meanwhile the connection is not taken for dead.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_that_does_not_receive_holds_the_peer_up() {
    const MESSAGES: usize = 4000;
    let (go_on, gate) = tokio::sync::watch::channel(false);
    let clock = ManualClock::new();
    let engine = start_by(
        Engine::builder(ServerOptions::default()).clock(&clock),
        move |runtime| {
            let gate = gate.clone();
            Bridge::new(runtime, move |mut session: Session| {
                let mut gate = gate.clone();
                async move {
                    gate.wait_for(|open| *open).await.unwrap();
                    for number in 0..MESSAGES {
                        let message = session.recv().await.unwrap();
                        assert_eq!(message.as_bytes()[..8], number.to_be_bytes());
                    }
                    session.send("all").await.unwrap();
                }
            })
            .receive_limit(32 * KIB)
        },
    );
    let client = Client::builder().ping_interval(None).build().unwrap();
    let ws = client
        .connect(&format!("ws://{}/", engine.local_addrs()[0]))
        .await
        .unwrap();
    let (sender, mut receiver) = ws.split();
    let sending = tokio::spawn(async move {
        for number in 0..MESSAGES {
            let mut message = vec![0; 16 * KIB];
            message[..8].copy_from_slice(&number.to_be_bytes());
            sender.send(message).await.unwrap();
        }
    });
    // Two messages reach the limit. Then others that do not answer are given up, one after the other.
    while metric(&engine, "sockeye_engine_messages_total{direction=\"in\"}") < 2 {
        tokio::task::yield_now().await;
    }
    for given_up in 1..=3 {
        let silent = connect(&engine, "/").await;
        while metric(&engine, "sockeye_engine_closed_total{clean=\"false\"}") < given_up {
            clock.advance(Duration::from_secs(1));
            tokio::task::yield_now().await;
        }
        drop(silent);
    }
    assert_eq!(metric(&engine, "sockeye_engine_messages_total{direction=\"in\"}"), 2);
    assert_eq!(metric(&engine, "sockeye_engine_connections"), 1);
    assert!(!sending.is_finished());
    go_on.send(true).unwrap();
    assert_eq!(receiver.recv().await.unwrap(), Some(Message::from("all")));
    sending.await.unwrap();
}

#[tokio::test]
async fn a_shutdown_ends_the_tasks() {
    let (tell, mut told) = unbounded_channel();
    let engine = start(ServerOptions::default(), move |runtime| {
        let tell = tell.clone();
        Bridge::new(runtime, move |mut session: Session| {
            let tell = tell.clone();
            async move {
                let ended = session.recv().await.unwrap_err();
                tell.send(ended).unwrap();
            }
        })
    });
    let mut clients = Vec::new();
    for _ in 0..10 {
        clients.push(connect(&engine, "/").await);
    }
    while metric(&engine, "sockeye_engine_connections") < 10 {
        tokio::task::yield_now().await;
    }
    let ending = tokio::task::spawn_blocking(move || engine.shutdown(Duration::from_secs(10)));
    for ws in &mut clients {
        assert_eq!(ws.recv().await.unwrap(), None);
        let ended: Ended = told.recv().await.unwrap();
        assert_eq!((ended.clean, ended.cause), (true, Some(Cause::Shutdown)));
    }
    assert_eq!(ending.await.unwrap().closed, 10);
}

/// Both directions at once, larger than anything holds.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r2_large_messages_both_ways() {
    let engine = start(ServerOptions::default(), |runtime| Bridge::new(runtime, echo));
    let (sender, mut receiver) = connect(&engine, "/").await.split();
    let message = Message::from(vec![9; 300 * KIB]);
    let expected = message.clone();
    let sending = tokio::spawn(async move {
        for _ in 0..100 {
            sender.send(message.clone()).await.unwrap();
        }
        sender
    });
    for _ in 0..100 {
        assert!(receiver.recv().await.unwrap().unwrap() == expected);
    }
    sending.await.unwrap();
}
