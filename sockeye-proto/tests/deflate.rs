//! RFC 7692 over two connections, and the permessage-deflate rows of the threat list.

mod common;

use std::sync::Arc;

use common::*;
use sockeye_proto::connection::{Compress, Connection, Receive, Role};
use sockeye_proto::deflate::DeflateDirection;
use sockeye_proto::deflate::{DeflateOptions, DeflateParams};
use sockeye_proto::error::ProtocolError;
use sockeye_proto::message::MessageKind;
use sockeye_proto::prepared::Prepared;

/// What both directions of a connection agree on.
#[derive(Clone, Copy)]
struct Agreement {
    takeover: bool,
    window_bits: u8,
}

const TAKEOVER: Agreement = Agreement {
    takeover: true,
    window_bits: 15,
};
const NO_TAKEOVER: Agreement = Agreement {
    takeover: false,
    window_bits: 15,
};

fn connection(role: Role, agreement: Agreement) -> Connection {
    connection_with(
        role,
        agreement,
        DeflateOptions::server().with_threshold(0),
        Receive::Messages,
    )
}

fn connection_with(role: Role, agreement: Agreement, deflate: DeflateOptions, receive: Receive) -> Connection {
    let direction = DeflateDirection {
        context_takeover: agreement.takeover,
        max_window_bits: agreement.window_bits,
    };
    let mut config = config();
    config.deflate = deflate;
    config.receive = receive;
    Connection::new(role, Arc::new(config)).with_deflate(DeflateParams::new(direction, direction))
}

fn sent(sender: &mut Connection, text: &str) -> Vec<u8> {
    let mut out = vec![];
    sender.send(text, &mut out).unwrap();
    out
}

/// "Hello" in one fixed block, RFC 7692 §7.2.3.1.
const HELLO: [u8; 7] = [0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00];

#[test]
fn section_7_2_3_1_hello_in_one_frame_and_in_fragments() {
    let server = || connection(Role::Server, TAKEOVER);
    let whole = masked(0xC1, &HELLO);
    assert_eq!(receive(server, &whole).events, [text("Hello")]);
    let fragments = [masked(0x41, &HELLO[..3]), masked(0x80, &HELLO[3..])].concat();
    assert_eq!(receive(server, &fragments).events, [text("Hello")]);
    // §7.2.3.2: the second message refers to the window of the first.
    let both = [whole, masked(0xC1, &[0xf2, 0x00, 0x11, 0x00, 0x00])].concat();
    assert_eq!(receive(server, &both).events, [text("Hello"), text("Hello")]);
}

#[test]
fn f8_a_ping_between_the_fragments_of_a_compressed_message() {
    let input = [
        masked(0x41, &HELLO[..3]),
        masked(0x89, b"now"),
        masked(0x80, &HELLO[3..]),
    ]
    .concat();
    let outcome = receive(|| connection(Role::Server, NO_TAKEOVER), &input);
    assert_eq!(outcome.events, [Seen::Ping(b"now".to_vec()), text("Hello")]);
    assert_eq!(outcome.out, unmasked(0x8A, b"now"));
}

#[test]
fn d1_empty_messages() {
    for agreement in [TAKEOVER, NO_TAKEOVER] {
        let (mut client, mut server) = (connection(Role::Client, agreement), connection(Role::Server, agreement));
        for expected in ["", "a", "", ""] {
            let mut out = vec![];
            client.send_with(expected, Compress::Always, &mut out).unwrap();
            assert_eq!(out[0], 0xC1);
            assert_eq!(feed_borrowed(&mut server, [&out[..]]).events, [text(expected)]);
        }
    }
    // §7.2.3.6: the payload of an empty message is 0x00; an uncompressed one has none.
    let input = [
        masked(0xC1, &[0]),
        masked(0x81, &[]),
        masked(0x41, &[]),
        masked(0x80, &[0]),
    ]
    .concat();
    let outcome = receive(|| connection(Role::Server, NO_TAKEOVER), &input);
    assert_eq!(outcome.events, [text(""), text(""), text("")]);
}

#[test]
fn d2_a_final_block_followed_by_another_message() {
    let bfinal = [0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00];
    // Without the empty block behind it, and with.
    for last in [&bfinal[..7], &bfinal] {
        for agreement in [TAKEOVER, NO_TAKEOVER] {
            let input = [masked(0xC1, last), masked(0xC1, &HELLO), masked(0xC1, last)].concat();
            let outcome = receive(|| connection(Role::Server, agreement), &input);
            assert_eq!(outcome.events, [text("Hello"), text("Hello"), text("Hello")]);
        }
    }
}

#[test]
fn d3_corrupt_streams() {
    for body in [
        &[0xFF; 8][..],
        &[0x06, 0x00],
        b"\x00\x05\x00\x00\x00Hello",
        // Cut short: in a stored block, in a fixed block, before anything.
        &[0x00, 0x05, 0x00, 0xfa, 0xff, 0x48],
        &HELLO[..3],
        &HELLO[..1],
        &[],
    ] {
        let server = || connection(Role::Server, NO_TAKEOVER);
        let input = [masked(0xC1, &HELLO), masked(0xC1, body)].concat();
        assert_fails_as(server, &input, &[text("Hello")], ProtocolError::InvalidDeflate, 1007);
    }
    // The distance goes back further than there is anything: the second example without the first.
    let input = masked(0xC1, &[0xf2, 0x00, 0x11, 0x00, 0x00]);
    assert_fails_as(
        || connection(Role::Server, TAKEOVER),
        &input,
        &[],
        ProtocolError::InvalidDeflate,
        1007,
    );
}

#[test]
fn section_8_1_inflated_text_is_checked() {
    let mut client = connection(Role::Client, NO_TAKEOVER);
    let mut out = vec![];
    client
        .send_with(&b"not text \xFF"[..], Compress::Always, &mut out)
        .unwrap();
    out[0] = 0xC1;
    assert_fails_as(
        || connection(Role::Server, NO_TAKEOVER),
        &out,
        &[],
        ProtocolError::InvalidUtf8,
        1007,
    );
}

#[test]
fn d7_without_context_takeover_no_message_refers_to_another() {
    let text = "the same text, that a window would make short, the same text";
    let mut server = connection(Role::Server, NO_TAKEOVER);
    let (first, second) = (sent(&mut server, text), sent(&mut server, text));
    assert_eq!(first, second);
    let fresh = feed_borrowed(&mut connection(Role::Client, NO_TAKEOVER), [&second[..]]);
    assert_eq!(fresh.events, [common::text(text)]);
    // With it, the second is shorter.
    let mut server = connection(Role::Server, TAKEOVER);
    let (first, second) = (sent(&mut server, text), sent(&mut server, text));
    assert!(second.len() < first.len() / 2);
}

#[test]
fn d7_uncompressed_messages_leave_the_window_alone() {
    let (mut client, mut server) = (connection(Role::Client, TAKEOVER), connection(Role::Server, TAKEOVER));
    let story = "once upon a time there was a sockeye that swam upstream";
    let mut wire = sent(&mut client, story);
    client
        .send_with("in between, plain", Compress::Never, &mut wire)
        .unwrap();
    wire.extend(sent(&mut client, story));
    let outcome = feed_borrowed(&mut server, [&wire[..]]);
    assert_eq!(outcome.events, [text(story), text("in between, plain"), text(story)]);
}

#[test]
fn d7_a_broken_off_message_does_not_leak_into_the_next_connection() {
    // The inflater of this thread is shared: a connection that fails in mid-message gives it back, and not as it was.
    let broken_off = [masked(0x41, &HELLO[..3]), masked(0x83, b"")].concat();
    for agreement in [TAKEOVER, NO_TAKEOVER] {
        let mut first = connection(Role::Server, agreement);
        let outcome = feed_borrowed(&mut first, [&broken_off[..]]);
        assert_eq!(outcome.error, Some(ProtocolError::ReservedOpcode(3)));
        let mut next = connection(Role::Server, agreement);
        let outcome = feed_borrowed(&mut next, [&masked(0xC1, &HELLO)[..]]);
        assert_eq!(outcome.events, [text("Hello")]);
    }
}

#[test]
fn f5_rsv1_stands_on_the_first_frame_of_a_message_alone() {
    for takeover in [TAKEOVER, NO_TAKEOVER] {
        let server = || connection(Role::Server, takeover);
        for control in [0xC8, 0xC9, 0xCA] {
            assert_fails_as(server, &masked(control, b""), &[], ProtocolError::UnexpectedRsv1, 1002);
        }
        for first in [0x02, 0x42] {
            let input = [masked(first, &HELLO[..3]), masked(0xC0, &HELLO[3..])].concat();
            assert_fails_as(server, &input, &[], ProtocolError::UnexpectedRsv1, 1002);
        }
    }
}

#[test]
fn f10_inflated_text_fails_at_its_first_bad_byte() {
    let mut client = connection(Role::Client, NO_TAKEOVER);
    let (mut long, text) = (vec![], [&b"fine \xF4\x90"[..], &[b'x'; 1000]].concat());
    client.send_with(&text[..], Compress::Always, &mut long).unwrap();
    // The last byte of the frame never comes.
    long[0] = 0xC1;
    let cut = long.len() - 1;
    let mut server = connection(Role::Server, NO_TAKEOVER);
    assert_eq!(
        feed_borrowed(&mut server, [&long[..cut]]).error,
        Some(ProtocolError::InvalidUtf8)
    );
}

#[test]
fn d6_each_window_comes_back_and_8_bits_are_never_compressed() {
    let noise: String = (0..40_000_u32).map(|i| char::from(b'a' + (i * i % 23) as u8)).collect();
    for window_bits in 9..=15 {
        let agreement = Agreement {
            takeover: true,
            window_bits,
        };
        let (mut client, mut server) = (connection(Role::Client, agreement), connection(Role::Server, agreement));
        for _ in 0..3 {
            let wire = sent(&mut client, &noise);
            assert_eq!(wire[0], 0xC1);
            assert_eq!(feed_borrowed(&mut server, [&wire[..]]).events, [text(&noise)]);
        }
    }
    let agreement = Agreement {
        takeover: true,
        window_bits: 8,
    };
    let mut client = connection(Role::Client, agreement);
    let mut wire = vec![];
    client.send_with(noise.as_str(), Compress::Always, &mut wire).unwrap();
    assert_eq!(wire[0], 0x81);
}

#[test]
fn the_threshold_and_the_choice_for_one_message() {
    let options = DeflateOptions::server().with_threshold(20);
    let mut server = connection_with(Role::Server, NO_TAKEOVER, options, Receive::Messages);
    let compressed = |server: &mut Connection, text: &str, compress| {
        let mut out = vec![];
        server.send_with(text, compress, &mut out).unwrap();
        out[0] == 0xC1
    };
    let (short, long) = ("a".repeat(19), "a".repeat(20));
    assert!(!compressed(&mut server, &short, Compress::Auto));
    assert!(compressed(&mut server, &long, Compress::Auto));
    assert!(compressed(&mut server, &short, Compress::Always));
    assert!(!compressed(&mut server, &long, Compress::Never));
    // What does not get shorter goes as it is, unless it was asked for.
    let noise = "q8Zk1xT0vB7nR4mW9cJ2";
    assert!(!compressed(&mut server, noise, Compress::Auto));
    assert!(compressed(&mut server, noise, Compress::Always));
}

#[test]
fn fragments_of_a_compressed_message_have_rsv1_on_the_first_alone() {
    for agreement in [TAKEOVER, NO_TAKEOVER] {
        let (mut server, mut client) = (connection(Role::Server, agreement), connection(Role::Client, agreement));
        for _ in 0..2 {
            let mut out = vec![];
            let mut starts = vec![];
            for (piece, fin) in [
                ("a long tale, ", false),
                ("", false),
                ("a long tale", false),
                ("", true),
            ] {
                starts.push(out.len());
                server.send_fragment(piece, fin, Compress::Auto, &mut out).unwrap();
            }
            let first_bytes: Vec<u8> = starts.iter().map(|at| out[*at]).collect();
            assert_eq!(first_bytes, [0x41, 0x00, 0x00, 0x80]);
            assert_eq!(
                feed_owned(&mut client, out.chunks(3)).events,
                [text("a long tale, a long tale")]
            );
        }
    }
}

#[test]
fn chunks_of_a_compressed_message_pass_in_constant_memory() {
    let long = "fish ".repeat(50_000);
    for agreement in [TAKEOVER, NO_TAKEOVER] {
        let mut client = connection(Role::Client, agreement);
        let mut server = connection_with(Role::Server, agreement, DeflateOptions::server(), Receive::Chunks);
        for _ in 0..2 {
            let wire = sent(&mut client, &long);
            let outcome = feed_borrowed(&mut server, wire.chunks(100));
            let mut whole = vec![];
            for (index, event) in outcome.events.iter().enumerate() {
                let Seen::Chunk(MessageKind::Text, data, fin) = event else {
                    panic!("{event:?}")
                };
                assert!(data.len() <= 8 * 1024);
                assert_eq!(*fin, index + 1 == outcome.events.len());
                whole.extend_from_slice(data);
            }
            assert!(whole == long.as_bytes());
        }
    }
}

#[test]
fn a_prepared_message_is_encoded_once_for_all() {
    let story = "the same news for everyone, the same news for everyone, the same";
    let prepared = Prepared::new(story).with_compression(&DeflateOptions::server());
    let plain = || Connection::new(Role::Server, Arc::new(config()));
    let send = |server: &mut Connection| {
        let mut out = vec![];
        server.send_prepared(&prepared, &mut out).unwrap();
        out
    };
    assert_eq!(send(&mut plain()), unmasked(0x81, story.as_bytes()));
    let compressed = send(&mut connection(Role::Server, NO_TAKEOVER));
    assert_eq!(compressed[0], 0xC1);
    assert!(compressed.len() < story.len());
    // A smaller window could not hold what the compressed form refers to.
    let small = Agreement {
        takeover: false,
        window_bits: 10,
    };
    assert_eq!(send(&mut connection(Role::Server, small))[0], 0x81);
    // Between messages with context takeover, in both directions.
    for role in [Role::Server, Role::Client] {
        let other = if role == Role::Server {
            Role::Client
        } else {
            Role::Server
        };
        let (mut sender, mut receiver) = (connection(role, TAKEOVER), connection(other, TAKEOVER));
        let mut wire = sent(&mut sender, story);
        wire.extend(send(&mut sender));
        wire.extend(sent(&mut sender, story));
        wire.extend(sent(&mut sender, story));
        assert_eq!(feed_borrowed(&mut receiver, [&wire[..]]).events, vec![text(story); 4]);
    }
    // A client masks a copy of its own.
    let mut client = Connection::new(Role::Client, Arc::new(config()));
    let wire = send(&mut client);
    assert_eq!(feed_borrowed(&mut plain(), [&wire[..]]).events, [text(story)]);
}

#[test]
fn a_compressed_message_longer_than_any_compressor_makes_it_is_refused() {
    let small = || {
        let mut config = config();
        config.max_message_size = 1000;
        let direction = DeflateDirection {
            context_takeover: false,
            max_window_bits: 15,
        };
        Connection::new(Role::Server, Arc::new(config)).with_deflate(DeflateParams::new(direction, direction))
    };
    // Empty stored blocks inflate to nothing, for ever.
    let nothing = [0x00, 0x00, 0x00, 0xFF, 0xFF].repeat(500);
    let error = ProtocolError::MessageTooBig { limit: 1000 };
    assert_fails_as(small, &masked(0xC1, &nothing), &[], error, 1009);
    assert_eq!(receive(small, &masked(0xC1, &nothing[..1996])).events, [text("")]);
}
