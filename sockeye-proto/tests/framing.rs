//! RFC 6455 §5–§8 and the Framing rows of the threat list, through both fronts and cut everywhere.

mod common;

use std::sync::Arc;

use bytes::BytesMut;
use common::*;
use sockeye_proto::close::{CloseCode, CloseState};
use sockeye_proto::connection::{Compress, Connection, Event, Receive, Role};
use sockeye_proto::error::{ProtocolError, SendError};
use sockeye_proto::message::MessageKind;

const C: u64 = 1 << 20;

fn client() -> Connection {
    Connection::new(Role::Client, Arc::new(config()))
}

#[test]
fn section_5_7_samples() {
    let hello = [0x81, 0x05, 0x48, 0x65, 0x6c, 0x6c, 0x6f];
    assert_eq!(receive(client, &hello).events, [text("Hello")]);
    let masked_hello = [0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58];
    assert_eq!(masked(0x81, b"Hello"), masked_hello);
    assert_eq!(receive(server, &masked_hello).events, [text("Hello")]);
    let fragments = [0x01, 0x03, 0x48, 0x65, 0x6c, 0x80, 0x02, 0x6c, 0x6f];
    assert_eq!(receive(client, &fragments).events, [text("Hello")]);
    for length in [256, 65536] {
        let payload = vec![7; length];
        assert_eq!(
            receive(client, &unmasked(0x82, &payload)).events,
            [Seen::Binary(payload)]
        );
    }
}

#[test]
fn section_5_5_2_a_ping_is_answered_with_its_payload() {
    let outcome = receive(server, &masked(0x89, b"Hello"));
    assert_eq!(outcome.events, [Seen::Ping(b"Hello".to_vec())]);
    assert_eq!(outcome.out, unmasked(0x8A, b"Hello"));
}

#[test]
fn section_5_5_3_pongs_are_told_and_not_answered() {
    let outcome = receive(server, &[masked(0x8A, b"x"), masked(0x8A, b"")].concat());
    assert_eq!(outcome.events, [Seen::Pong(b"x".to_vec()), Seen::Pong(vec![])]);
    assert!(outcome.out.is_empty());
}

#[test]
fn section_5_3_each_frame_of_a_client_has_a_fresh_key() {
    let mut client = client();
    let (mut first, mut second) = (vec![], vec![]);
    client.send("same", &mut first).unwrap();
    client.send("same", &mut second).unwrap();
    assert_ne!(first[2..6], second[2..6]);
    let mut server = server();
    assert_eq!(
        feed_borrowed(&mut server, [&first[..], &second]).events,
        [text("same"), text("same")]
    );
}

#[test]
fn f1_length_overflow() {
    let start = masked(0x02, &[0; 10]);
    for (length, error, code) in [
        (1_u64 << 63, ProtocolError::LengthOverflow, 1002),
        (u64::MAX, ProtocolError::LengthOverflow, 1002),
        ((1 << 63) - 1, ProtocolError::MessageTooBig { limit: C }, 1009),
        (1 << 32, ProtocolError::MessageTooBig { limit: C }, 1009),
    ] {
        // The masking key is there, no byte of the payload is.
        let input = [start.clone(), header(0x80, 0x80, length), KEY.to_vec()].concat();
        assert_fails(&input, &[], error, code);
    }
}

#[test]
fn f3_length_not_minimal() {
    for input in [&[0x82, 0xFE, 0, 5][..], &[0x82, 0xFF, 0, 0, 0, 0, 0, 0, 0, 200]] {
        assert_fails(input, &[], ProtocolError::LengthNotMinimal, 1002);
    }
}

#[test]
fn f4_mask() {
    assert_fails(&unmasked(0x81, b"a"), &[], ProtocolError::UnmaskedFrame, 1002);
    let outcome = feed_borrowed(&mut client(), masked(0x81, b"a").chunks(1));
    assert_eq!(outcome.error, Some(ProtocolError::MaskedFrame));
    // The client's Close is masked; a server reads it.
    let told = feed_borrowed(&mut server(), [&outcome.out[..]]);
    let [Seen::Close(Some((1002, reason)))] = &told.events[..] else {
        panic!("{told:?}")
    };
    assert_eq!(reason, "frame of a server masked");
}

#[test]
fn f5_reserved_bits_and_opcodes() {
    for opcode in (3..=7).chain(0xB..=0xF) {
        assert_fails(
            &masked(0x80 | opcode, b""),
            &[],
            ProtocolError::ReservedOpcode(opcode),
            1002,
        );
    }
    for rsv in [0x20, 0x10, 0x30] {
        for opcode in [0x81, 0x82, 0x88, 0x89, 0x8A] {
            assert_fails(&masked(opcode | rsv, b""), &[], ProtocolError::ReservedBits, 1002);
        }
    }
    for opcode in [0x81, 0x82, 0x88, 0x89, 0x8A] {
        assert_fails(&masked(opcode | 0x40, b""), &[], ProtocolError::UnexpectedRsv1, 1002);
    }
    let continuation = [masked(0x01, b"a"), masked(0xC0, b"b")].concat();
    assert_fails(&continuation, &[], ProtocolError::UnexpectedRsv1, 1002);
}

#[test]
fn f6_control_frames() {
    for opcode in [0x08, 0x09, 0x0A] {
        assert_fails(&masked(opcode, b""), &[], ProtocolError::FragmentedControlFrame, 1002);
        assert_fails(
            &masked(0x80 | opcode, &[0; 126]),
            &[],
            ProtocolError::ControlFrameTooLong,
            1002,
        );
    }
    assert_fails(&masked(0x88, &[3]), &[], ProtocolError::CloseBodyTooShort, 1002);
    for code in [0_u16, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65535] {
        let input = masked(0x88, &code.to_be_bytes());
        assert_fails(&input, &[], ProtocolError::InvalidCloseCode(code), 1002);
    }
    assert_fails(
        &masked(0x88, &[0x03, 0xE8, 0xFF]),
        &[],
        ProtocolError::InvalidCloseReason,
        1007,
    );
    for code in [1000_u16, 1001, 1002, 1003, 1007, 1011, 1012, 1013, 1014, 3000, 4999] {
        let outcome = receive(server, &masked(0x88, &code.to_be_bytes()));
        assert_eq!(outcome.events, [Seen::Close(Some((code, String::new())))]);
        assert_eq!(outcome.out, close(code, ""));
        assert_eq!(outcome.error, None);
    }
}

#[test]
fn f7_sequence() {
    for first in [0x00, 0x80] {
        assert_fails(&masked(first, b"a"), &[], ProtocolError::UnexpectedContinuation, 1002);
    }
    for second in [0x01, 0x81, 0x02, 0x82] {
        let input = [masked(0x01, b"a"), masked(second, b"b")].concat();
        assert_fails(&input, &[], ProtocolError::ExpectedContinuation, 1002);
    }
    // A continuation after the message's end.
    let input = [masked(0x01, b"a"), masked(0x80, b"b"), masked(0x80, b"c")].concat();
    assert_fails(&input, &[text("ab")], ProtocolError::UnexpectedContinuation, 1002);
    // A Close in mid-message: no part of the message is delivered.
    let input = [masked(0x01, b"a"), masked(0x88, b"")].concat();
    assert_eq!(receive(server, &input).events, [Seen::Close(None)]);
}

#[test]
fn f8_pings_between_fragments_are_answered_at_once() {
    let input = [
        masked(0x01, b"a"),
        masked(0x89, b"1"),
        masked(0x00, b""),
        masked(0x89, b"2"),
        masked(0x80, b"b"),
    ]
    .concat();
    let outcome = receive(server, &input);
    assert_eq!(
        outcome.events,
        [Seen::Ping(b"1".to_vec()), Seen::Ping(b"2".to_vec()), text("ab")]
    );
    assert_eq!(outcome.out, [unmasked(0x8A, b"1"), unmasked(0x8A, b"2")].concat());
}

#[test]
fn f9_segmentation_of_a_long_conversation() {
    let input = [
        masked(0x81, "grüße 🐟".as_bytes()),
        masked(0x82, &[0; 300]),
        masked(0x01, "ü".as_bytes().split_at(1).0),
        masked(0x80, "ü".as_bytes().split_at(1).1),
        masked(0x81, b""),
        masked(0x8A, b"beat"),
        masked(0x88, b"\x03\xe8bye"),
        masked(0x81, b"never seen"),
    ]
    .concat();
    let outcome = receive(server, &input);
    assert_eq!(outcome.out, close(1000, ""));
    assert_eq!(outcome.error, None);
    let expected = [
        text("grüße 🐟"),
        Seen::Binary(vec![0; 300]),
        text("ü"),
        text(""),
        Seen::Pong(b"beat".to_vec()),
        Seen::Close(Some((1000, "bye".into()))),
    ];
    assert_eq!(outcome.events, expected);
    // The same for a client, whose answer has another key each time.
    let input = [
        unmasked(0x81, "grüße 🐟".as_bytes()),
        unmasked(0x82, &[0; 300]),
        unmasked(0x01, "ü".as_bytes().split_at(1).0),
        unmasked(0x80, "ü".as_bytes().split_at(1).1),
        unmasked(0x81, b""),
        unmasked(0x8A, b"beat"),
        close(1000, "bye"),
        unmasked(0x81, b"never seen"),
    ]
    .concat();
    for cut in 0..input.len() {
        let (head, tail) = input.split_at(cut);
        assert_eq!(feed_borrowed(&mut client(), [head, tail]).events, expected);
        assert_eq!(feed_owned(&mut client(), [head, tail]).events, expected);
    }
}

#[test]
fn missing_says_how_much_a_frame_at_the_start_lacks() {
    for (first, length) in [(0x89, 125), (0x81, 125), (0x82, 300)] {
        let frame = masked(first, &vec![b'x'; length]);
        let header = frame.len() - length;
        let (mut server, mut out) = (server(), vec![]);
        let mut input = frame[..header - 1].to_vec();
        assert_eq!(server.receive(&mut input, &mut out).unwrap().consumed, 0);
        assert_eq!(server.missing(), 0, "inside the header");
        let mut input = frame[..header].to_vec();
        assert_eq!(server.receive(&mut input, &mut out).unwrap().consumed, header);
        for there in 0..length {
            assert_eq!(server.missing(), (length - there) as u64);
            // As a driver has it: the bytes of before, as the call left them, and one more.
            input.drain(..input.len() - there);
            input.push(frame[header + there]);
            let received = server.receive(&mut input, &mut out).unwrap();
            assert_eq!(received.event.is_some(), there + 1 == length);
        }
        assert_eq!(server.missing(), 0);
    }
}

#[test]
fn an_input_that_lacks_what_was_kept_is_waited_for() {
    let frame = masked(0x81, b"hello");
    let (mut server, mut out) = (server(), vec![]);
    let mut input = frame[..8].to_vec();
    assert_eq!(server.receive(&mut input, &mut out).unwrap().consumed, 6);
    for shorter in [&mut [][..], &mut [0; 1]] {
        let received = server.receive(shorter, &mut out).unwrap();
        assert_eq!((received.consumed, received.event), (0, None));
    }
    input.drain(..6);
    input.extend_from_slice(&frame[8..]);
    let received = server.receive(&mut input, &mut out).unwrap();
    assert_eq!(received.event, Some(Event::Text("hello")));
}

#[test]
fn f10_utf8_fails_at_the_first_bad_byte() {
    // Each: valid text before, the bytes up to and with the first bad one.
    for bad in [
        &b"\x80"[..],
        b"\xC0",
        b"\xC1",
        b"\xE0\x80",
        b"\xE0\x9F",
        b"\xED\xA0",
        b"\xF0\x8F",
        b"\xF4\x90",
        b"\xF5",
        b"\xFF",
        b"\xC3\x28",
        b"\xE2\x82\x28",
        b"\xF0\x9F\x90\x28",
    ] {
        let whole = masked(0x81, &[b"ok \xC3\xBC ", bad].concat());
        assert_fails(&whole, &[], ProtocolError::InvalidUtf8, 1007);
        // The frame claims 100 more bytes, which never come.
        let mut long = header(0x81, 0x80, bad.len() as u64 + 100);
        long.extend_from_slice(&masked(0x81, bad)[2..]);
        assert_fails(&long, &[], ProtocolError::InvalidUtf8, 1007);
        // In the second fragment of a message that would go on.
        let fragments = [masked(0x01, b"ok"), masked(0x00, bad)].concat();
        assert_fails(&fragments, &[], ProtocolError::InvalidUtf8, 1007);
    }
    // Text that ends inside a code point.
    for end in [&b"\xC3"[..], b"\xE2\x82", b"\xF0\x9F\x90"] {
        assert_fails(&masked(0x81, end), &[], ProtocolError::InvalidUtf8, 1007);
        let fragments = [masked(0x01, end), masked(0x80, b"")].concat();
        assert_fails(&fragments, &[], ProtocolError::InvalidUtf8, 1007);
    }
}

#[test]
fn f10_code_points_split_at_every_boundary() {
    let greeting = "aü€🐟".as_bytes();
    for cut in 0..=greeting.len() {
        let input = [masked(0x01, &greeting[..cut]), masked(0x80, &greeting[cut..])].concat();
        assert_eq!(receive(server, &input).events, [text("aü€🐟")]);
    }
}

#[test]
fn m3_fragments_past_the_limit() {
    let limited = || {
        let mut config = config();
        config.max_message_size = 100;
        Connection::new(Role::Server, Arc::new(config))
    };
    let exact = [masked(0x02, &[1; 60]), masked(0x80, &[1; 40])].concat();
    assert_eq!(receive(limited, &exact).events, [Seen::Binary(vec![1; 100])]);
    let over = [masked(0x02, &[1; 60]), masked(0x80, &[1; 41])].concat();
    assert_fails_as(limited, &over, &[], ProtocolError::MessageTooBig { limit: 100 }, 1009);
    assert_fails_as(
        limited,
        &masked(0x82, &[1; 101]),
        &[],
        ProtocolError::MessageTooBig { limit: 100 },
        1009,
    );
}

#[test]
fn r4_valid_messages_before_a_bad_frame_are_delivered_first() {
    let input = [masked(0x81, b"one"), masked(0x82, b"two"), masked(0x83, b"")].concat();
    assert_fails(
        &input,
        &[text("one"), Seen::Binary(b"two".to_vec())],
        ProtocolError::ReservedOpcode(3),
        1002,
    );
}

#[test]
fn section_5_5_1_nothing_is_sent_after_close() {
    let mut server = server();
    let mut out = vec![];
    server.close(CloseCode::NORMAL, "bye", &mut out).unwrap();
    assert_eq!(out, close(1000, "bye"));
    assert_eq!(server.state(), CloseState::Closing);
    out.clear();
    assert_eq!(server.send("late", &mut out), Err(SendError::Closed));
    assert_eq!(server.ping(b"", &mut out), Err(SendError::Closed));
    assert_eq!(server.pong(b"", &mut out), Err(SendError::Closed));
    assert_eq!(
        server.send_fragment("late", true, Compress::Auto, &mut out),
        Err(SendError::Closed)
    );
    assert_eq!(server.close(CloseCode::NORMAL, "", &mut out), Err(SendError::Closed));
    // What was under way still arrives; a ping is no longer answered, a violation no longer told.
    let outcome = feed_borrowed(
        &mut server,
        [&masked(0x81, b"crossed")[..], &masked(0x89, b"?"), &masked(0x83, b"")],
    );
    assert_eq!(outcome.events, [text("crossed"), Seen::Ping(b"?".to_vec())]);
    assert_eq!(outcome.error, Some(ProtocolError::ReservedOpcode(3)));
    assert!(outcome.out.is_empty() && out.is_empty());
}

#[test]
fn section_7_1_the_closing_handshake_from_either_side() {
    let (mut server, mut client) = (server(), client());
    let (mut from_client, mut out) = (vec![], vec![]);
    client.close(CloseCode::new(4001), "done", &mut from_client).unwrap();
    let outcome = feed_borrowed(&mut server, [&from_client[..]]);
    assert_eq!(outcome.events, [Seen::Close(Some((4001, "done".into())))]);
    assert_eq!(server.state(), CloseState::Closed);
    assert_eq!(server.close_received(), Some(CloseCode::new(4001)));
    let outcome = feed_borrowed(&mut client, [&outcome.out[..]]);
    assert_eq!(outcome.events, [Seen::Close(Some((4001, String::new())))]);
    assert_eq!(client.state(), CloseState::Closed);
    assert_eq!(server.send("late", &mut out), Err(SendError::Closed));
    assert!(out.is_empty());
}

#[test]
fn section_7_1_5_a_close_without_body() {
    let mut server = server();
    let mut out = vec![];
    server.close(CloseCode::NO_STATUS, "", &mut out).unwrap();
    assert_eq!(out, [0x88, 0]);
    assert_eq!(server.close_sent(), Some(CloseCode::NO_STATUS));
    let outcome = receive(crate::server, &masked(0x88, b""));
    assert_eq!((outcome.events, outcome.out), (vec![Seen::Close(None)], vec![0x88, 0]));
}

#[test]
fn section_7_4_codes_that_must_not_be_sent_are_refused() {
    let mut server = server();
    let mut out = vec![];
    for code in [0, 999, 1004, 1006, 1015, 2999, 5000] {
        assert_eq!(
            server.close(CloseCode::new(code), "", &mut out),
            Err(SendError::InvalidCloseCode(code))
        );
    }
    assert_eq!(
        server.close(CloseCode::NO_STATUS, "why", &mut out),
        Err(SendError::InvalidCloseCode(1005))
    );
    assert_eq!(
        server.close(CloseCode::NORMAL, &"x".repeat(124), &mut out),
        Err(SendError::ReasonTooLong)
    );
    assert_eq!((server.state(), out.len()), (CloseState::Open, 0));
    server.close(CloseCode::NORMAL, &"x".repeat(123), &mut out).unwrap();
    assert_eq!(out.len(), 127);
}

#[test]
fn section_5_4_fragments_are_not_interleaved() {
    let mut server = server();
    let mut out = vec![];
    server.send_fragment("a", false, Compress::Auto, &mut out).unwrap();
    assert_eq!(server.send("whole", &mut out), Err(SendError::MessageInProgress));
    assert_eq!(
        server.send_fragment(b"x", true, Compress::Auto, &mut out),
        Err(SendError::MessageInProgress)
    );
    server.ping(b"", &mut out).unwrap();
    server.send_fragment("", false, Compress::Auto, &mut out).unwrap();
    server.send_fragment("b", true, Compress::Auto, &mut out).unwrap();
    server.send("c", &mut out).unwrap();
    let expected = [
        unmasked(0x01, b"a"),
        unmasked(0x89, b""),
        unmasked(0x00, b""),
        unmasked(0x80, b"b"),
        unmasked(0x81, b"c"),
    ];
    assert_eq!(out, expected.concat());
    assert_eq!(server.ping(&[0; 126], &mut out), Err(SendError::ControlFrameTooLong));
}

#[test]
fn chunks_of_a_huge_frame_pass_as_they_arrive() {
    let mut config = config();
    config.receive = Receive::Chunks;
    config.max_message_size = u64::MAX;
    let mut server = Connection::new(Role::Server, Arc::new(config));
    let mut input = header(0x81, 0x80, 10_000_000_000);
    input.extend_from_slice(&masked(0x81, "aü".as_bytes())[2..8]);
    let outcome = feed_owned(&mut server, [&input[..], &masked(0x81, "aü".as_bytes())[8..]]);
    // The chunk ends inside a code point; the whole is text.
    let chunk = |bytes: &[u8]| Seen::Chunk(MessageKind::Text, bytes.to_vec(), false);
    assert_eq!(outcome.events, [chunk(b"a\xC3"), chunk(b"\xBC")]);
    assert_eq!(server.missing(), 0);
    let outcome = feed_owned(&mut server, [&[KEY[3] ^ 0xC3, KEY[0] ^ b'a'][..]]);
    assert_eq!(outcome.error, Some(ProtocolError::InvalidUtf8));
}

#[test]
fn chunks_of_fragments_end_with_fin() {
    let chunks = || {
        let mut config = config();
        config.receive = Receive::Chunks;
        Connection::new(Role::Server, Arc::new(config))
    };
    let input = [
        masked(0x02, b"ab"),
        masked(0x00, b""),
        masked(0x89, b"!"),
        masked(0x80, b""),
    ]
    .concat();
    let chunk = |bytes: &[u8], fin| Seen::Chunk(MessageKind::Binary, bytes.to_vec(), fin);
    let outcome = feed_borrowed(&mut chunks(), [&input[..]]);
    assert_eq!(
        outcome.events,
        [chunk(b"ab", false), Seen::Ping(b"!".to_vec()), chunk(b"", true)]
    );
    let text = [masked(0x01, b"\xC3"), masked(0x80, b"")].concat();
    assert_eq!(
        feed_borrowed(&mut chunks(), [&text[..]]).error,
        Some(ProtocolError::InvalidUtf8)
    );
}

#[test]
fn a_whole_plain_payload_is_handed_over_where_it_stands() {
    for payload in [vec![7; 10], vec![7; 1000], vec![7; 100_000]] {
        let frame = masked(0x82, &payload);
        let at = frame.len() - payload.len();
        let mut out = vec![];

        let mut input = BytesMut::from(&frame[..]);
        let place = input[at..].as_ptr();
        let event = server().receive_bytes(&mut input, &mut out).unwrap();
        let Some(Event::Binary(bytes)) = event else {
            panic!("{event:?}")
        };
        assert_eq!((bytes.as_ptr(), &bytes[..]), (place, &payload[..]));

        let mut input = frame.clone();
        let place = input[at..].as_ptr();
        let mut server = server();
        let received = server.receive(&mut input, &mut out).unwrap();
        let Some(Event::Binary(bytes)) = received.event else {
            panic!("{received:?}")
        };
        assert_eq!((bytes.as_ptr(), bytes), (place, &payload[..]));
    }
    // Text, that arrives in two reads.
    let frame = masked(0x81, &[b'a'; 5000]);
    let mut input = BytesMut::with_capacity(frame.len());
    input.extend_from_slice(&frame[..1000]);
    let place = input[8..].as_ptr();
    let (mut server, mut out) = (server(), vec![]);
    assert_eq!(server.receive_bytes(&mut input, &mut out), Ok(None));
    assert_eq!(server.missing(), 4008);
    input.extend_from_slice(&frame[1000..]);
    let event = server.receive_bytes(&mut input, &mut out).unwrap();
    let Some(Event::Text(text)) = event else {
        panic!("{event:?}")
    };
    assert_eq!((text.as_bytes().as_ptr(), text.len()), (place, 5000));
}
