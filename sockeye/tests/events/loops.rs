//! The event loop: who dispatches, one at a time, how much waits, and what of it ends with the runtime.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use futures_util::StreamExt;
use sockeye::events::{CloseEvent, Event, Failure, WebSocket};

use crate::common::{
    Raw, TEXT, accept, close_frame, connecting, expect, frame, life, listen, log, open, send_until_it_waits,
};

fn is_shared<T: Send + Sync + Clone + Unpin + 'static>(_: &T) {}

#[tokio::test]
async fn events_are_a_stream() {
    let (listener, url) = listen().await;
    let mut ws = WebSocket::new(&url, ()).unwrap();
    is_shared(&ws);
    let mut server = Raw::accept(&listener).await;
    server.send(&[frame(TEXT, b"a"), close_frame(1000, "")].concat()).await;
    drop(server);
    let mut names = Vec::new();
    while let Some(event) = ws.next().await {
        names.push(event.name());
    }
    assert_eq!(names, ["open", "message", "close"]);
    assert!(ws.next().await.is_none());
}

#[tokio::test]
async fn a_callback_set_any_time_after_the_constructor_misses_nothing() {
    let (ws, listener) = connecting().await;
    let mut server = Raw::accept(&listener).await;
    server.send(&[frame(TEXT, b"a"), close_frame(1000, "")].concat()).await;
    // All of it has come before anybody listens.
    assert_eq!(server.frame().await.unwrap().0, 0x88);
    drop(server);
    let log = log(&ws);
    assert_eq!(
        life(&ws, &log).await,
        ["open 1", "message 1 a", "close 3 1000 \"\" clean"]
    );
}

#[tokio::test]
async fn a_callback_can_be_replaced_from_within_itself() {
    let (ws, listener) = connecting().await;
    let heard = Arc::new(AtomicUsize::new(0));
    let (first, second) = (heard.clone(), heard.clone());
    ws.on_message(move |ws, _| {
        first.fetch_add(1, Ordering::Relaxed);
        let second = second.clone();
        ws.on_message(move |_, _| {
            second.fetch_add(10, Ordering::Relaxed);
        });
    });
    let mut server = Raw::accept(&listener).await;
    server
        .send(&[frame(TEXT, b"a").repeat(3), close_frame(1000, "")].concat())
        .await;
    drop(server);
    ws.run().await;
    assert_eq!(heard.load(Ordering::Relaxed), 21);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn callbacks_never_overlap() {
    const MESSAGES: usize = 5000;
    let (ws, listener) = connecting().await;
    let (running, count) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let counted = count.clone();
    ws.on_message(move |_, event| {
        assert!(!running.swap(true, Ordering::SeqCst), "another callback runs");
        let expected = counted.fetch_add(1, Ordering::SeqCst).to_string();
        assert_eq!(event.data.as_text(), Some(expected.as_str()));
        running.store(false, Ordering::SeqCst);
    });
    let server = tokio::spawn(async move {
        let mut server = accept(&listener).await;
        for n in 0..MESSAGES {
            server.send(n.to_string()).await.unwrap();
        }
        server.close(sockeye::CloseCode::NORMAL, "").await.unwrap();
    });
    // Three loops at once: each event is dispatched by one of them, and all learn of the end.
    let loops: Vec<_> = (0..3).map(|_| tokio::spawn(ws.run())).collect();
    for running in loops {
        assert!(running.await.unwrap().was_clean);
    }
    server.await.unwrap();
    assert_eq!(count.load(Ordering::SeqCst), MESSAGES);
}

#[tokio::test]
async fn a_callback_that_panics_leaves_the_object_usable() {
    let (ws, listener) = connecting().await;
    ws.on_open(|_| panic!("as the test has it"));
    let mut server = Raw::accept(&listener).await;
    assert!(tokio::spawn(ws.run()).await.unwrap_err().is_panic());
    server.send(&close_frame(1000, "")).await;
    drop(server);
    assert!(ws.run().await.was_clean);
}

#[tokio::test]
async fn a_loop_that_does_not_run_makes_the_server_wait() {
    const ALL: usize = 32 << 20;
    let (ws, server) = open().await;
    let sending = send_until_it_waits(server, ALL).await;
    let mut messages = 0;
    while let Some(event) = ws.next_event().await {
        match event {
            Event::Message(_) => messages += 1,
            Event::Close(close) => assert!(close.was_clean),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(messages, ALL / 1024);
    assert_eq!(sending.await.unwrap().unwrap().0, 0x88);
}

#[test]
fn the_end_of_the_runtime_is_an_end() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let (ws, _server) = runtime.block_on(async {
        let (ws, listener) = connecting().await;
        let server = Raw::accept(&listener).await;
        expect(&ws, "open").await;
        (ws, server)
    });
    drop(runtime);
    // No runtime is needed to hear of it.
    let close: CloseEvent = futures_util::FutureExt::now_or_never(ws.run()).unwrap();
    assert_eq!((close.code.as_u16(), close.was_clean), (1006, false));
    assert!(matches!(*ws.failure().unwrap(), Failure::Runtime));
}
