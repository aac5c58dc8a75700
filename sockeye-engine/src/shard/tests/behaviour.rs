//! Handshakes, messages, backpressure, and how connections end.

use std::time::Duration;

use super::lab::{Lab, REQUEST, Told, masked};
use crate::mailbox::Command;
use crate::options::SlowSubscriber;
use crate::shared::Handle;
use crate::{Cause, CloseCode, Delivery};

#[test]
fn a_request_in_pieces_is_answered_when_it_is_whole() {
    let mut lab = Lab::new();
    let client = lab.connect();
    for byte in &REQUEST[..REQUEST.len() - 1] {
        lab.say(client, &[*byte]);
        assert!(lab.hear(client).is_empty());
    }
    lab.say(client, b"\n");
    let answer = String::from_utf8(lab.hear(client)).unwrap();
    assert!(answer.starts_with("HTTP/1.1 101 Switching Protocols\r\n"), "{answer}");
    assert!(
        answer.contains("Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"),
        "{answer}"
    );
    assert_eq!(lab.told(), [Told::Open]);
}

#[test]
fn what_comes_with_the_request_is_of_the_connection() {
    let mut lab = Lab::new();
    let client = lab.connect();
    lab.say(client, &[REQUEST, &masked(0x81, b"early")].concat());
    assert!(lab.hear(client).ends_with(b"\r\n\r\n\x81\x05early"));
    assert_eq!(lab.wire(client).writes, 1, "the response and the answer leave together");
}

#[test]
fn requests_are_refused_by_rule_and_by_the_application() {
    for (request, status) in [
        (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n".to_vec(), 426),
        (b"nonsense\r\n\r\n".to_vec(), 400),
        (replace("Version: 13", "Version: 12"), 426),
        (replace("/ HTTP", "/refused HTTP"), 401),
        (replace("/ HTTP", "/panic HTTP"), 500),
    ] {
        let mut lab = Lab::new();
        let client = lab.connect();
        lab.say(client, &request);
        let answer = String::from_utf8(lab.hear(client)).unwrap();
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
        assert!(lab.wire(client).server_ended);
        lab.end(client);
        assert!(lab.is_gone(client));
        assert!(lab.told().is_empty());
    }
}

#[test]
fn messages_that_come_together_are_answered_in_one_write() {
    let mut lab = Lab::new();
    let client = lab.open();
    let before = lab.wire(client).writes;
    let message = masked(0x82, b"abc");
    lab.say(client, &[message.clone(), message.clone(), message].concat());
    assert_eq!(lab.frames(client), vec![(0x82, b"abc".to_vec()); 3]);
    let wire = lab.wire(client);
    assert_eq!(
        (wire.writes - before, wire.reads),
        (1, 3),
        "two reads were for the request"
    );
}

/// The same bytes, however they are cut, come to the same.
#[test]
fn frames_are_cut_anywhere() {
    let mut stream = Vec::new();
    let payloads: Vec<Vec<u8>> = [0, 1, 125, 126, 70_000, 300_000, 3]
        .map(|length| vec![b'y'; length])
        .into();
    for payload in &payloads {
        stream.extend(masked(0x82, payload));
    }
    stream.splice(
        0..0,
        [masked(0x01, b"sub"), masked(0x89, b"ping"), masked(0x80, b"scribe")].concat(),
    );
    for piece in [1, 2, 7, 1000, 65_536, 65_537, 200_000, stream.len()] {
        let mut lab = Lab::new();
        let client = lab.open();
        for piece in stream.chunks(piece) {
            lab.say(client, piece);
        }
        let mut expected = vec![(0x8a, b"ping".to_vec()), (0x81, b"subscribe".to_vec())];
        expected.extend(payloads.iter().map(|payload| (0x82, payload.clone())));
        let frames = lab.frames(client);
        assert!(frames == expected, "in pieces of {piece}");
    }
}

#[test]
fn a_violation_closes_with_its_code_after_what_was_valid() {
    for (bytes, code) in [
        (b"\x81\x05Hello".to_vec(), 1002),
        (masked(0xc1, b"a"), 1002),
        (masked(0x81, b"\xff"), 1007),
        (masked(0x82, &vec![0; (1 << 20) + 1]), 1009),
    ] {
        let mut lab = Lab::new();
        let client = lab.open();
        lab.say(client, &[masked(0x82, b"valid"), bytes].concat());
        let frames = lab.frames(client);
        assert_eq!(frames[0], (0x82, b"valid".to_vec()));
        assert_eq!(
            (frames[1].0, u16::from_be_bytes([frames[1].1[0], frames[1].1[1]])),
            (0x88, code)
        );
        assert!(lab.wire(client).server_ended);
        assert!(!lab.is_gone(client), "it may still read");
        let told = lab.told();
        let [
            Told::Open,
            Told::Binary(_),
            Told::Close {
                clean: false,
                sent,
                cause,
                ..
            },
        ] = &told[..]
        else {
            panic!("{told:?}");
        };
        assert_eq!((*sent, *cause), (Some(code), Some(Cause::Violation)));
        lab.say(client, &masked(0x82, b"ignored"));
        lab.end(client);
        assert!(lab.is_gone(client) && lab.told().is_empty());
    }
}

#[test]
fn a_clean_close_by_either_side() {
    let mut lab = Lab::new();
    let client = lab.open();
    lab.say(client, &masked(0x88, b"\x0f\xa1bye"));
    assert_eq!(lab.frames(client), [(0x88, b"\x0f\xa1".to_vec())]);
    let close = |code, reason: &str, sent| Told::Close {
        code,
        reason: reason.to_owned(),
        clean: true,
        sent: Some(sent),
        cause: None,
    };
    assert_eq!(lab.told(), [Told::Open, close(4001, "bye", 4001)]);
    // RFC 6455 §7.1.1: the server ends the transport first.
    assert!(lab.wire(client).server_ended);
    lab.end(client);
    assert!(lab.is_gone(client));

    let client = lab.open();
    lab.text(client, "close enough");
    assert_eq!(lab.frames(client), [(0x88, b"\x0f\xa0enough".to_vec())]);
    assert!(!lab.wire(client).server_ended, "the answer is awaited");
    lab.say(client, &[masked(0x81, b"late"), masked(0x88, b"\x0f\xa0")].concat());
    let told = lab.told();
    assert_eq!(told.last(), Some(&close(4000, "", 4000)));
    assert!(lab.wire(client).server_ended);
}

#[test]
fn a_lost_connection_is_told_once() {
    let mut lab = Lab::new();
    let client = lab.open();
    lab.say(client, &masked(0x82, b"half a frame")[..5]);
    lab.end(client);
    let lost = Told::Close {
        code: 1006,
        reason: String::new(),
        clean: false,
        sent: None,
        cause: Some(Cause::Lost),
    };
    assert_eq!(lab.told(), [Told::Open, lost]);
    assert!(lab.is_gone(client));
    assert_eq!(lab.shard.len(), 0);
}

#[test]
fn a_panic_ends_its_connection_and_no_other() {
    let mut lab = Lab::new();
    let (one, other) = (lab.open(), lab.open());
    lab.text(one, "panic");
    assert_eq!(lab.frames(one), [(0x88, b"\x03\xf3".to_vec())]);
    lab.say(one, &masked(0x88, b"\x03\xf3"));
    let told = lab.told();
    let Some(Told::Close { cause, sent, .. }) = told.last() else {
        panic!("{told:?}")
    };
    assert_eq!((*cause, *sent), (Some(Cause::Panicked), Some(1011)));
    lab.text(other, "fine");
    assert_eq!(lab.texts(other), ["fine"]);
}

#[test]
fn messages_behind_a_panic_in_the_same_read_are_not_lost() {
    let mut lab = Lab::new();
    let client = lab.open();
    lab.told();
    let read = [
        masked(0x81, b"one"),
        masked(0x81, b"panic"),
        masked(0x81, b"two"),
        masked(0x88, b""),
    ]
    .concat();
    lab.say(client, &read);
    let told = lab.told();
    let text = |text: &str| Told::Text(text.to_owned());
    assert_eq!(told[..3], [text("one"), text("panic"), text("two")]);
    let Told::Close { cause, sent, .. } = &told[3] else {
        panic!("{told:?}")
    };
    assert_eq!((*cause, *sent), (Some(Cause::Panicked), Some(1011)));
    assert_eq!(
        lab.frames(client),
        [(0x81, b"one".to_vec()), (0x88, b"\x03\xf3".to_vec())]
    );
}

#[test]
fn output_waits_up_to_the_limit_and_drain_tells() {
    let mut lab = Lab::slow(SlowSubscriber::Drop, 1000);
    let client = lab.open();
    lab.told();
    lab.wire(client).room = Some(0);
    lab.text(client, "send 600");
    lab.text(client, "send 300");
    lab.text(client, "send 300");
    let sent = |told: Vec<Told>| {
        told.into_iter()
            .filter(|told| matches!(told, Told::Sent(_)))
            .collect::<Vec<_>>()
    };
    // What the first one meets only shows when it is written.
    let told = sent(lab.told());
    assert_eq!(
        told,
        [Delivery::Sent, Delivery::Queued, Delivery::Dropped].map(Told::Sent)
    );
    lab.give_room(client, Some(700));
    assert_eq!(lab.told(), [Told::Drain(604 + 304 - 700)]);
    lab.give_room(client, None);
    assert_eq!(lab.told(), [Told::Drain(0)]);
    assert_eq!(
        lab.frames(client).iter().map(|frame| frame.1.len()).collect::<Vec<_>>(),
        [600, 300]
    );
}

#[test]
fn one_message_may_always_wait() {
    let mut lab = Lab::slow(SlowSubscriber::Drop, 10);
    let client = lab.open();
    lab.wire(client).room = Some(100);
    lab.say(client, &masked(0x82, &[b'z'; 50_000]));
    lab.give_room(client, None);
    assert_eq!(lab.frames(client), [(0x82, vec![b'z'; 50_000])]);
}

/// A peer that asks and does not read gets the answer to its last question.
#[test]
fn pings_of_one_who_does_not_read_take_no_memory() {
    let mut lab = Lab::new();
    let client = lab.open();
    lab.wire(client).room = Some(0);
    for number in 0..10_000_u32 {
        lab.say(client, &masked(0x89, &number.to_be_bytes()));
    }
    lab.give_room(client, None);
    let frames = lab.frames(client);
    assert!(frames.len() < 2000, "{}", frames.len());
    assert_eq!(frames.last(), Some(&(0x8a, 9999_u32.to_be_bytes().to_vec())));
}

#[test]
fn a_handle_works_from_elsewhere_and_knows_when_its_connection_is_gone() {
    let mut lab = Lab::new();
    let client = lab.open();
    let handle = Handle {
        mailbox: lab.shared.shards[0].mailbox.clone(),
        key: lab.key(client),
    };
    let before = lab.wire(client).writes;
    assert_eq!(handle.send("one"), Delivery::Queued);
    assert_eq!(handle.send("two"), Delivery::Queued);
    handle.close(CloseCode::new(4002), &"long ".repeat(30));
    assert_eq!(handle.send("after the close"), Delivery::Queued);
    lab.end_turn();
    let frames = lab.frames(client);
    assert_eq!(frames.len(), 3);
    assert_eq!((frames[2].0, frames[2].1.len()), (0x88, 125));
    assert_eq!(lab.wire(client).writes - before, 1);
    lab.end(client);
    assert!(lab.is_gone(client));

    // The next one has the same place, and is another.
    let next = lab.open();
    assert_eq!(lab.key(next).index, handle.key.index);
    let _ = handle.send("for nobody");
    handle.terminate();
    lab.end_turn();
    assert!(lab.hear(next).is_empty() && !lab.is_gone(next));
}

#[test]
fn a_paused_connection_is_not_read() {
    let mut lab = Lab::new();
    let client = lab.open();
    lab.say(
        client,
        &[masked(0x81, b"pause"), masked(0x81, b"a"), masked(0x81, b"b")].concat(),
    );
    lab.say(client, &masked(0x81, b"c"));
    assert!(lab.hear(client).is_empty());
    let key = lab.key(client);
    lab.shared.shards[0].mailbox.post(Command::Resume(key));
    lab.end_turn();
    assert_eq!(lab.texts(client), ["a", "b", "c"]);
}

#[test]
fn the_end_behind_what_was_not_read_yet_is_not_forgotten() {
    let mut lab = Lab::new();
    let client = lab.open();
    lab.say(client, &masked(0x81, b"pause"));
    lab.wire(client).to_server.extend(masked(0x81, b"last"));
    lab.end(client);
    assert!(!lab.is_gone(client));
    let key = lab.key(client);
    lab.shared.shards[0].mailbox.post(Command::Resume(key));
    lab.end_turn();
    assert_eq!(lab.texts(client), ["last"]);
    assert!(lab.is_gone(client));
}

#[test]
fn beyond_the_limit_there_is_no_room() {
    let mut lab = Lab::with(crate::ServerOptions::default(), |options| options.max_connections = 2);
    let (first, _second) = (lab.open(), lab.open());
    let third = lab.connect();
    assert!(
        lab.hear(third).is_empty(),
        "an answer before the end of the request may not be read"
    );
    lab.say(third, REQUEST);
    assert!(lab.hear(third).starts_with(b"HTTP/1.1 503 "));
    lab.end(third);
    assert!(lab.is_gone(third));
    lab.end(first);
    let fourth = lab.open();
    let fifth = lab.connect();
    lab.say(fifth, REQUEST);
    assert!(
        lab.hear(fifth).starts_with(b"HTTP/1.1 503 "),
        "who was refused leaves no place"
    );
    lab.end(fourth);
}

#[test]
fn who_is_refused_for_want_of_room_keeps_a_place_among_the_handshakes_until_it_is_gone() {
    let mut lab = Lab::with(crate::ServerOptions::default(), |options| {
        (options.max_connections, options.max_handshakes) = (1, 2);
    });
    let _first = lab.open();
    let refused = [lab.connect(), lab.connect()];
    assert!(lab.shard.is_busy());
    for client in refused {
        lab.say(client, REQUEST);
        assert!(lab.hear(client).starts_with(b"HTTP/1.1 503 "));
    }
    assert!(lab.shard.is_busy(), "they are still there");
    lab.end(refused[0]);
    assert!(lab.is_gone(refused[0]) && !lab.shard.is_busy());
    // One that never ends its side, and one that says nothing.
    let silent = lab.connect();
    assert!(lab.shard.is_busy());
    lab.pass(Duration::from_secs(6));
    assert!(lab.is_gone(refused[1]) && !lab.shard.is_busy());
    lab.pass(Duration::from_secs(6));
    assert!(lab.is_gone(silent));
    let [_one, _two] = [lab.connect(), lab.connect()];
    assert!(lab.shard.is_busy(), "both places are free again, and no more");
}

#[test]
fn the_answer_to_head_has_no_content() {
    let mut lab = Lab::new();
    let client = lab.connect();
    lab.say(client, b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n");
    let answer = lab.hear(client);
    assert!(answer.starts_with(b"HTTP/1.1 426 ") && answer.ends_with(b"\r\n\r\n"));
}

#[test]
fn what_wants_no_websocket_is_handed_over_with_all_that_was_said() {
    let post = b"POST /login HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi".to_vec();
    for (request, handed_over) in [
        (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n".to_vec(), true),
        (b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n".to_vec(), true),
        (post, true),
        (replace("GET", "POST"), false),
        (replace("Version: 13", "Version: 12"), false),
        (REQUEST.to_vec(), false),
    ] {
        let mut lab = Lab::handing_over();
        let client = lab.connect();
        lab.say(client, &request);
        let handed = lab.handed_over.take();
        assert_eq!(lab.hear(client).is_empty(), handed_over);
        assert_eq!(handed, if handed_over { vec![request] } else { Vec::new() });
    }
}

#[test]
fn after_a_resume_it_goes_on_where_it_stopped() {
    let mut lab = Lab::new();
    let client = lab.open();
    lab.wire(client).room = Some(0);
    // The second finds no room, since the first waits.
    lab.text(client, "pause until drained");
    lab.text(client, "later");
    assert!(lab.hear(client).is_empty());
    lab.give_room(client, None);
    assert_eq!(lab.texts(client), ["pause until drained", "later"]);
}

#[test]
fn a_shutdown_does_not_wait_for_clients_to_hang_up() {
    let mut lab = Lab::new();
    let client = lab.open();
    lab.say(client, &masked(0x88, &[]));
    assert!(lab.wire(client).server_ended && !lab.is_gone(client));
    lab.leave();
    assert!(lab.is_gone(client));
}

fn replace(from: &str, to: &str) -> Vec<u8> {
    let request = std::str::from_utf8(REQUEST).unwrap();
    assert!(request.contains(from));
    request.replace(from, to).into_bytes()
}
