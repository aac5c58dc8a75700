//! Publishing across shards and threads.

use sockeye::WebSocket;
use sockeye::transport::Stream;
use sockeye_engine::Delivery;

use crate::common::{Running, ask, start};

/// So many subscribers, which are in every shard.
async fn subscribers(running: &Running, shards: usize, filter: &str) -> Vec<WebSocket<Stream>> {
    let mut seen = vec![false; shards];
    let mut clients = Vec::new();
    while clients.len() < 8 || seen.contains(&false) {
        assert!(clients.len() < 200, "some shard gets no connection");
        let mut ws = running.connect("/").await;
        let shard = ask(&mut ws, "shard").await;
        seen[shard.as_text().unwrap().parse::<usize>().unwrap()] = true;
        assert_eq!(ask(&mut ws, format!("subscribe {filter}")).await, "subscribed".into());
        clients.push(ws);
    }
    clients
}

/// Reads until every publisher's last message has come, and checks that each publisher's come in order and none is lost.
async fn all_in_order(ws: &mut WebSocket<Stream>, publishers: usize, messages: usize) {
    let mut next = vec![0; publishers];
    while next.iter().any(|next| *next < messages) {
        let message = ws.recv().await.unwrap().unwrap();
        let (publisher, number) = message.as_text().unwrap().split_once(':').unwrap();
        let publisher: usize = publisher.parse().unwrap();
        assert_eq!(
            number.parse::<usize>().unwrap(),
            next[publisher],
            "of publisher {publisher}"
        );
        next[publisher] += 1;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_of_several_threads_reach_all_in_each_ones_order() {
    const PUBLISHERS: usize = 3;
    const MESSAGES: usize = 2000;
    let running = start(2);
    let mut clients = subscribers(&running, 2, "news").await;
    let threads: Vec<_> = (0..PUBLISHERS)
        .map(|publisher| {
            let engine = running.engine.publisher();
            std::thread::spawn(move || {
                for number in 0..MESSAGES {
                    let published = engine.publish("news", &*format!("{publisher}:{number}")).unwrap();
                    assert_eq!(published, Delivery::Queued);
                }
            })
        })
        .collect();
    for ws in &mut clients {
        all_in_order(ws, PUBLISHERS, MESSAGES).await;
    }
    for thread in threads {
        thread.join().unwrap();
    }
    assert_eq!(running.metric("sockeye_engine_dropped_total{where=\"publish\"}"), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handler_publishes_to_all_shards_but_not_to_its_own_connection() {
    const MESSAGES: usize = 500;
    let running = start(2);
    let mut clients = subscribers(&running, 2, "rooms/+").await;
    let mut speaker = clients.pop().unwrap();
    for number in 0..MESSAGES {
        speaker.send(format!("publish rooms/7 0:{number}")).await.unwrap();
    }
    for ws in &mut clients {
        all_in_order(ws, 1, MESSAGES).await;
    }
    // What it hears first is the answer to this, and no message of its own.
    assert_eq!(ask(&mut speaker, "nothing yet").await, "nothing yet".into());
    clients[0].send("publish rooms/7 1:0").await.unwrap();
    assert_eq!(speaker.recv().await.unwrap(), Some("1:0".into()));
}

#[tokio::test]
async fn names_that_are_none() {
    let running = start(1);
    let publisher = running.engine.publisher();
    for name in ["", "a/+", "#"] {
        assert!(publisher.publish(name, "x").is_err(), "{name}");
    }
    assert_eq!(publisher.publish("nobody/here", "x"), Ok(Delivery::Queued));
    assert_eq!(running.metric("sockeye_engine_published_total"), 0);
}

/// The mailbox takes so much and no more; what it took is delivered.
#[tokio::test]
async fn a_shard_that_is_busy_refuses_what_is_too_much_for_it() {
    let mut running = crate::common::start_with(1, Default::default(), |builder| builder.mailbox_limit(64 * 1024));
    let mut ws = running.connect("/").await;
    let (_, handle) = running.opened().await;
    assert_eq!(ask(&mut ws, "subscribe t").await, "subscribed".into());
    let publisher = running.engine.publisher();
    let message = vec![0; 100 * 1024];
    // Larger than the whole mailbox: never taken.
    assert_eq!(publisher.publish("t", &*message), Ok(Delivery::Dropped));
    assert_eq!(publisher.publish("t", "small"), Ok(Delivery::Queued));
    assert_eq!(ws.recv().await.unwrap(), Some("small".into()));
    assert_eq!(running.metric("sockeye_engine_dropped_total{where=\"mailbox\"}"), 1);
    assert_eq!(handle.send(message), Delivery::Dropped);
    assert_eq!(running.metric("sockeye_engine_dropped_total{where=\"mailbox\"}"), 2);
}
