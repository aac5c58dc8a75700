//! Any sequence of messages, cut anywhere, survives the way to the other end: both roles, with and without deflate,
//! both fronts.

mod common;

use std::sync::Arc;

use common::*;
use proptest::prelude::*;
use sockeye_proto::connection::{Compress, Connection, Role};
#[cfg(feature = "deflate")]
use sockeye_proto::deflate::{DeflateDirection, DeflateOptions, DeflateParams};
use sockeye_proto::message::{Message, Payload};

#[derive(Debug, Clone)]
enum Step {
    Message(Message, Compress),
    /// A message in fragments, cut at these per-mille of its length, with a ping between them.
    Fragments(Message, Vec<usize>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
}

fn message() -> impl Strategy<Value = Message> {
    prop_oneof![
        "\\PC{0,40}".prop_map(Message::from),
        "[ab]{0,400}".prop_map(Message::from),
        prop::collection::vec(any::<u8>(), 0..300).prop_map(Message::from),
        (0..70_000_usize, any::<u8>()).prop_map(|(length, byte)| Message::from(vec![byte; length])),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let compress = prop_oneof![Just(Compress::Auto), Just(Compress::Always), Just(Compress::Never)];
    let control = || prop::collection::vec(any::<u8>(), 0..=125);
    prop_oneof![
        4 => (message(), compress).prop_map(|(message, compress)| Step::Message(message, compress)),
        2 => (message(), prop::collection::vec(0..1000_usize, 0..4))
            .prop_map(|(message, cuts)| Step::Fragments(message, cuts)),
        1 => control().prop_map(Step::Ping),
        1 => control().prop_map(Step::Pong),
    ]
}

/// Sends a step and answers what the other end must see.
fn send(sender: &mut Connection, step: &Step, out: &mut Vec<u8>) -> Vec<Seen> {
    let whole = |message: &Message| match message.payload() {
        Payload::Text(text) => Seen::Text(text.to_string()),
        Payload::Binary(bytes) => Seen::Binary(bytes.to_vec()),
    };
    match step {
        Step::Message(message, compress) => {
            sender.send_with(message, *compress, out).unwrap();
            vec![whole(message)]
        }
        Step::Fragments(message, cuts) => {
            let mut seen = vec![];
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut * message.len() / 1000).collect();
            cuts.sort_unstable();
            let mut start = 0;
            for cut in cuts {
                if message.as_text().is_some_and(|text| !text.is_char_boundary(cut)) {
                    continue;
                }
                send_piece(sender, message, start..cut, false, out);
                sender.ping(b"between", out).unwrap();
                seen.push(Seen::Ping(b"between".to_vec()));
                start = cut;
            }
            send_piece(sender, message, start..message.len(), true, out);
            seen.push(whole(message));
            seen
        }
        Step::Ping(payload) => {
            sender.ping(payload, out).unwrap();
            vec![Seen::Ping(payload.clone())]
        }
        Step::Pong(payload) => {
            sender.pong(payload, out).unwrap();
            vec![Seen::Pong(payload.clone())]
        }
    }
}

fn send_piece(sender: &mut Connection, message: &Message, range: std::ops::Range<usize>, fin: bool, out: &mut Vec<u8>) {
    match message.payload() {
        Payload::Text(text) => sender.send_fragment(&text[range], fin, Compress::Auto, out),
        Payload::Binary(bytes) => sender.send_fragment(&bytes[range], fin, Compress::Auto, out),
    }
    .unwrap();
}

/// A connection, compressing by these choices or (`None`) not.
fn connection(role: Role, deflate: Option<(bool, bool, u8, u8)>) -> Connection {
    let connection = |config| Connection::new(role, Arc::new(config));
    #[cfg(feature = "deflate")]
    if let Some((server_takeover, client_takeover, server_bits, client_bits)) = deflate {
        let mut config = config();
        config.deflate = DeflateOptions::server().with_threshold(0);
        let direction = |context_takeover, max_window_bits| DeflateDirection {
            context_takeover,
            max_window_bits,
        };
        return connection(config).with_deflate(DeflateParams::new(
            direction(client_takeover, client_bits),
            direction(server_takeover, server_bits),
        ));
    }
    let _ = deflate;
    connection(config())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_messages_cut_anywhere_come_back(
        steps in prop::collection::vec(step(), 1..8),
        cuts in prop::collection::vec(1..5000_usize, 1..20),
        deflate in prop::option::of((any::<bool>(), any::<bool>(), 9..=15_u8, 9..=15_u8)),
        to_server in any::<bool>(),
        owned in any::<bool>(),
    ) {
        let (from, to) = if to_server { (Role::Client, Role::Server) } else { (Role::Server, Role::Client) };
        let (mut sender, mut receiver) = (connection(from, deflate), connection(to, deflate));
        let (mut wire, mut expected) = (vec![], vec![]);
        for step in &steps {
            expected.extend(send(&mut sender, step, &mut wire));
        }
        let mut pieces = vec![];
        let (mut rest, mut cuts) = (&wire[..], cuts.into_iter().cycle());
        while let Some(cut) = cuts.next().filter(|_| !rest.is_empty()) {
            let (piece, after) = rest.split_at(cut.min(rest.len()));
            pieces.push(piece);
            rest = after;
        }
        let outcome = if owned {
            feed_owned(&mut receiver, pieces)
        } else {
            feed_borrowed(&mut receiver, pieces)
        };
        prop_assert_eq!(outcome.error, None);
        prop_assert!(outcome.events == expected);
        // The answers to the pings are understood in turn.
        let pongs: Vec<Seen> = expected.into_iter().filter_map(|seen| match seen {
            Seen::Ping(payload) => Some(Seen::Pong(payload)),
            _ => None,
        }).collect();
        prop_assert!(feed_borrowed(&mut sender, [&outcome.out[..]]).events == pongs);
    }

    #[test]
    fn any_bytes_are_taken_alike_by_all_fronts(
        input in prop::collection::vec(any::<u8>(), 0..400),
        start in prop_oneof![Just(vec![]), Just(vec![0x81, 0x85]), Just(vec![0xC1, 0xFE]), Just(vec![0x01, 0xFF])],
        to_server in any::<bool>(),
    ) {
        let input = [start, input].concat();
        let deflate = Some((true, true, 15, 15));
        let role = if to_server { Role::Server } else { Role::Client };
        let whole = feed_borrowed(&mut connection(role, deflate), [&input[..]]);
        let cut = feed_owned(&mut connection(role, deflate), input.chunks(1));
        let short = feed_whole(&mut connection(role, deflate), [&input[..]]);
        prop_assert_eq!(&whole.events, &short.events);
        prop_assert_eq!(whole.error, short.error);
        prop_assert_eq!(&whole.events, &cut.events);
        prop_assert_eq!(whole.error, cut.error);
    }
}
