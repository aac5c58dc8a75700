//! Topics: who gets what, in which order, in how many writes, and what slow subscribers cost.

use super::lab::{Lab, Told, masked};
use crate::options::SlowSubscriber;
use crate::{Cause, Publisher, ServerOptions};

fn publisher(lab: &Lab) -> Publisher {
    Publisher {
        shared: lab.shared.clone(),
    }
}

#[test]
fn subscribers_get_all_of_a_turn_in_one_write_and_in_order() {
    let mut lab = Lab::new();
    let (publisher, reader, other) = (lab.open(), lab.open(), lab.open());
    lab.text(reader, "subscribe news");
    lab.text(other, "subscribe sport");
    let before = lab.wire(reader).writes;
    let messages: Vec<_> = (0..8)
        .flat_map(|n| masked(0x81, format!("publish news {n}").as_bytes()))
        .collect();
    lab.say(publisher, &messages);
    assert_eq!(lab.texts(reader), ["0", "1", "2", "3", "4", "5", "6", "7"]);
    assert_eq!(lab.wire(reader).writes - before, 1);
    assert!(lab.hear(other).is_empty() && lab.hear(publisher).is_empty());
}

#[test]
fn a_publisher_does_not_hear_itself_unless_it_asks_to() {
    let mut lab = Lab::new();
    let (one, two) = (lab.open(), lab.open());
    lab.text(one, "subscribe t");
    lab.text(two, "subscribe t");
    lab.text(one, "publish t from-one");
    lab.text(two, "announce t to-all");
    assert_eq!(lab.texts(one), ["to-all"]);
    assert_eq!(lab.texts(two), ["from-one", "to-all"]);
}

#[test]
fn a_message_for_several_subscriptions_comes_once() {
    let mut lab = Lab::new();
    let (publisher, reader) = (lab.open(), lab.open());
    for filter in ["a/b", "a/+", "#", "x"] {
        lab.text(reader, &format!("subscribe {filter}"));
    }
    let all = [
        "publish a/b 1",
        "publish x 2",
        "publish a/c 3",
        "publish $a 4",
        "publish a/b 5",
    ];
    let messages: Vec<_> = all.iter().flat_map(|text| masked(0x81, text.as_bytes())).collect();
    lab.say(publisher, &messages);
    assert_eq!(lab.texts(reader), ["1", "2", "3", "5"]);
}

#[test]
fn what_was_published_comes_before_what_is_sent_after_it() {
    let mut lab = Lab::new();
    let client = lab.open();
    lab.text(client, "subscribe t");
    // All in one turn: what others publish by the mailbox, and what the connection itself is sent.
    let messages = [
        masked(0x81, b"subscribe u"),
        masked(0x81, b"announce t 1"),
        masked(0x81, b"an echo"),
    ]
    .concat();
    let elsewhere = publisher(&lab);
    let _ = elsewhere.publish("t", "0").unwrap();
    lab.wire(client).to_server.extend(messages);
    let key = lab.key(client);
    lab.shard.obey(|_, _, _| {});
    lab.shard.readable(key, false);
    lab.end_turn();
    assert_eq!(
        lab.texts(client),
        ["0", "an echo", "1"],
        "the mailbox is looked at before the next turn"
    );
}

#[test]
fn a_subscription_starts_and_ends_where_it_is_made_and_ended() {
    let mut lab = Lab::new();
    let (publisher, reader) = (lab.open(), lab.open());
    lab.text(reader, "subscribe other");
    let key = lab.key(publisher);
    let say = |lab: &mut Lab, client, text: &str| {
        lab.wire(client).to_server.extend(masked(0x81, text.as_bytes()));
        let key = lab.key(client);
        lab.shard.readable(key, false);
    };
    // One turn.
    say(&mut lab, publisher, "publish t before");
    say(&mut lab, reader, "subscribe t");
    say(&mut lab, publisher, "publish t within");
    say(&mut lab, reader, "unsubscribe t");
    say(&mut lab, publisher, "publish t after");
    lab.end_turn();
    assert_eq!(lab.texts(reader), ["within"]);
    assert_eq!(key, lab.key(publisher));
}

#[test]
fn the_handler_is_told_of_subscriptions() {
    let mut lab = Lab::new();
    let (one, two) = (lab.open(), lab.open());
    lab.text(one, "subscribe t");
    lab.text(one, "subscribe t");
    lab.text(two, "subscribe t");
    lab.text(one, "unsubscribe t");
    lab.text(one, "unsubscribe t");
    lab.end(two);
    let told: Vec<_> = lab
        .told()
        .into_iter()
        .filter(|told| matches!(told, Told::Subscription(..)))
        .collect();
    let subscription = |before, after| Told::Subscription("t".to_owned(), before, after);
    assert_eq!(
        told,
        [
            subscription(0, 1),
            subscription(1, 2),
            subscription(2, 1),
            subscription(1, 0)
        ]
    );
    assert!(lab.shared.publish("t", None, || panic!("made for nobody")));
}

#[test]
fn a_message_to_nobody_is_not_made() {
    let mut lab = Lab::new();
    let client = lab.open();
    lab.text(client, "subscribe a/+");
    assert!(lab.shared.publish("b", None, || panic!("made for nobody")));
    assert!(lab.shared.publish("a", None, || panic!("made for nobody")));
}

/// Nobody waits for one who does not read, and it costs no more than its limit.
#[test]
fn a_slow_subscriber_costs_its_limit() {
    for policy in [SlowSubscriber::Drop, SlowSubscriber::Tell, SlowSubscriber::Close] {
        let mut lab = Lab::slow(policy, 1000);
        let (publisher, slow, fast) = (lab.open(), lab.open(), lab.open());
        lab.text(slow, "subscribe t");
        lab.text(fast, "subscribe t");
        lab.told();
        lab.wire(slow).room = Some(150);
        for number in 0..100 {
            lab.text(publisher, &format!("publish t {number:096}"));
        }
        assert_eq!(lab.texts(fast).len(), 100);
        let told = lab.told();
        let dropped = told.iter().filter(|told| matches!(told, Told::Dropped(_))).count();
        if policy == SlowSubscriber::Close {
            assert!(lab.is_gone(slow));
            let close = told.iter().find(|told| matches!(told, Told::Close { .. }));
            assert!(
                matches!(
                    close,
                    Some(Told::Close {
                        cause: Some(Cause::TooSlow),
                        code: 1006,
                        ..
                    })
                ),
                "{close:?}"
            );
            continue;
        }
        assert_eq!(dropped, if policy == SlowSubscriber::Tell { 89 } else { 0 });
        lab.give_room(slow, None);
        let texts = lab.texts(slow);
        // One left whole, one in part, and the rest of that and nine more have waited.
        assert_eq!(texts.len(), 11);
        assert!(
            texts.iter().enumerate().all(|(at, text)| text.parse() == Ok(at)),
            "whole frames, in order"
        );
        lab.text(publisher, "publish t again");
        assert_eq!(lab.texts(slow), ["again"]);
    }
}

#[test]
fn subscriptions_are_limited() {
    let mut lab = Lab::with(ServerOptions::default(), |options| options.max_subscriptions = 2);
    let client = lab.open();
    for topic in ["a", "b", "c", "a"] {
        lab.text(client, &format!("subscribe {topic}"));
    }
    let told = lab.told();
    assert_eq!(
        told.iter()
            .filter(|told| matches!(told, Told::Subscription(..)))
            .count(),
        2
    );
}

#[cfg(feature = "deflate")]
#[test]
fn compressed_once_for_all_who_want_it_so() {
    use super::lab::REQUEST;
    let options = ServerOptions::builder()
        .deflate(crate::DeflateOptions::server())
        .build()
        .unwrap();
    let mut lab = Lab::with(options, |_| {});
    let (plain, publisher) = (lab.open(), lab.open());
    let compressing = lab.connect();
    let request = std::str::from_utf8(REQUEST).unwrap();
    let request = request.replace(
        "Upgrade\r\n",
        "Upgrade\r\nSec-WebSocket-Extensions: permessage-deflate\r\n",
    );
    lab.say(compressing, request.as_bytes());
    assert!(lab.hear(compressing).starts_with(b"HTTP/1.1 101"));
    lab.text(plain, "subscribe t");
    lab.text(compressing, "subscribe t");
    let text = "again ".repeat(50);
    lab.text(publisher, &format!("publish t {text}"));
    assert_eq!(lab.texts(plain), [text.as_str()]);
    let frames = lab.frames(compressing);
    assert_eq!((frames.len(), frames[0].0), (1, 0xc1));
    assert!(frames[0].1.len() < 30);
    // Short ones are not worth it.
    lab.text(publisher, "publish t short");
    assert_eq!(lab.texts(compressing), ["short"]);
}
