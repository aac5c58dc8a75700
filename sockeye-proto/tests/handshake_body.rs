//! Bodies of responses, in each of the forms of RFC 9112 §6.3, cut at every byte.

use proptest::prelude::*;
use sockeye_proto::handshake::client::Response;
use sockeye_proto::handshake::{BodyReader, BodyState, Headers, HttpVersion};

fn response(status: u16, fields: &[(&str, &str)]) -> Response {
    let mut headers = Headers::new();
    for (name, value) in fields {
        headers.append(name, value).unwrap();
    }
    Response::new(status, HttpVersion::Http11, headers)
}

/// Reads `input` in one piece, byte by byte, and in every two pieces; all must agree. Then the end, if `end` says so.
fn read(response: &Response, input: &[u8], limit: usize, end: bool) -> (BodyState, Vec<u8>) {
    let run = |pieces: &[&[u8]]| {
        let (mut reader, mut body) = (BodyReader::new(response, limit), Vec::new());
        for piece in pieces {
            reader.read(piece, &mut body);
        }
        let state = if end { reader.end() } else { reader.state() };
        (state, body)
    };
    let whole = run(&[input]);
    assert_eq!(run(&input.chunks(1).collect::<Vec<_>>()), whole);
    for at in 0..=input.len() {
        let (first, second) = input.split_at(at);
        assert_eq!(run(&[first, second]), whole, "cut at {at}");
    }
    whole
}

const CHUNKED: (&str, &str) = ("Transfer-Encoding", "chunked");

#[test]
fn rfc9112_6_3_by_content_length() {
    let five = response(403, &[("Content-Length", "5")]);
    assert_eq!(
        read(&five, b"hello, and more", 64, false),
        (BodyState::Complete, b"hello".to_vec())
    );
    assert_eq!(read(&five, b"hel", 64, false), (BodyState::Partial, b"hel".to_vec()));
    assert_eq!(read(&five, b"hel", 64, true), (BodyState::Malformed, b"hel".to_vec()));
    assert_eq!(read(&five, b"hello", 3, false), (BodyState::Truncated, b"hel".to_vec()));
    assert_eq!(
        read(&five, b"hello", 5, false),
        (BodyState::Complete, b"hello".to_vec())
    );
    let none = response(403, &[("Content-Length", "0")]);
    assert_eq!(BodyReader::new(&none, 64).state(), BodyState::Complete);
    let equal = response(403, &[("Content-Length", "2, 2"), ("Content-Length", "2")]);
    assert_eq!(read(&equal, b"abc", 64, false), (BodyState::Complete, b"ab".to_vec()));
    for bad in ["", "-1", "+1", "1 2", "1, 2", "0x1", "18446744073709551616"] {
        let state = BodyReader::new(&response(403, &[("Content-Length", bad)]), 64).state();
        // An empty value names no length at all.
        let expected = if bad.is_empty() {
            BodyState::Partial
        } else {
            BodyState::Malformed
        };
        assert_eq!(state, expected, "{bad:?}");
    }
    let huge = response(403, &[("Content-Length", "18446744073709551615")]);
    assert_eq!(read(&huge, b"abc", 2, false), (BodyState::Truncated, b"ab".to_vec()));
}

#[test]
fn rfc9112_7_1_by_chunks() {
    let chunked = response(403, &[CHUNKED]);
    let body = b"4\r\nWiki\r\n5;name=\"value\"\r\npedia\r\n00A \r\n in chunks\r\n0\r\nTrailer: x\r\n\r\n";
    assert_eq!(
        read(&chunked, body, 64, false),
        (BodyState::Complete, b"Wikipedia in chunks".to_vec())
    );
    assert_eq!(
        read(&chunked, body, 6, false),
        (BodyState::Truncated, b"Wikipe".to_vec())
    );
    assert_eq!(
        read(&chunked, b"4\r\nWi", 64, true),
        (BodyState::Malformed, b"Wi".to_vec())
    );
    for bad in [
        &b"\r\n"[..],
        b"x\r\n",
        b";\r\n",
        b"1\n",
        b"1\rx",
        b"1;a\nb",
        b"1\r\nab",
        b"1\r\na\rb",
        b"10000000000000000\r\n",
        b"-1\r\n",
    ] {
        assert_eq!(read(&chunked, bad, 64, false).0, BodyState::Malformed, "{bad:?}");
    }
    let zeros = "0".repeat(300) + "1\r\na\r\n0\r\n";
    assert_eq!(read(&chunked, zeros.as_bytes(), 64, false).0, BodyState::Malformed);
}

/// H2: chunks of one byte pass; what is all framing and no body does not go on for ever.
#[test]
fn h2_framing_without_a_body_is_bounded() {
    let chunked = response(403, &[CHUNKED]);
    let small = "1\r\nx\r\n".repeat(1000) + "0\r\n\r\n";
    let (mut reader, mut body) = (BodyReader::new(&chunked, 1000), Vec::new());
    assert_eq!(reader.read(small.as_bytes(), &mut body), BodyState::Complete);
    assert_eq!(body.len(), 1000);
    let mut reader = BodyReader::new(&chunked, 1000);
    let extension = format!("1;{}", "x".repeat(10_000));
    assert_eq!(reader.read(extension.as_bytes(), &mut body), BodyState::Truncated);
}

#[test]
fn rfc9112_6_3_to_the_end() {
    for fields in [
        &[][..],
        &[("Transfer-Encoding", "gzip")],
        &[("Transfer-Encoding", "chunked, gzip")],
    ] {
        let response = response(500, fields);
        assert_eq!(
            read(&response, b"all of it", 64, true),
            (BodyState::Complete, b"all of it".to_vec())
        );
        assert_eq!(
            read(&response, b"all of it", 64, false),
            (BodyState::Partial, b"all of it".to_vec())
        );
        assert_eq!(
            read(&response, b"all of it", 3, false),
            (BodyState::Truncated, b"all".to_vec())
        );
        assert_eq!(read(&response, b"all", 3, true), (BodyState::Complete, b"all".to_vec()));
    }
    let both = response(500, &[("Content-Length", "1"), ("Transfer-Encoding", "gzip, Chunked")]);
    assert_eq!(
        read(&both, b"2\r\nab\r\n0\r\n", 64, false),
        (BodyState::Complete, b"ab".to_vec())
    );
}

#[test]
fn rfc9112_6_3_no_body_at_all() {
    for status in [101, 204, 304] {
        let response = response(status, &[("Content-Length", "5")]);
        assert_eq!(read(&response, b"hello", 64, false), (BodyState::Complete, Vec::new()));
    }
}

proptest! {
    /// Whatever comes, in whatever framing: cuts change nothing, the limit holds, and nothing panics.
    #[test]
    fn any_bytes_in_any_framing(
        framing in prop::sample::select(vec!["chunked", "gzip", "7", "40", ""]),
        input in prop::collection::vec(
            prop_oneof![
                prop::sample::select(b"0123aF;\r\n".to_vec()),
                any::<u8>(),
            ],
            0..60,
        ),
        limit in 0..40_usize,
    ) {
        let name = if framing.starts_with(|first: char| first.is_ascii_digit()) {
            "Content-Length"
        } else {
            "Transfer-Encoding"
        };
        let fields = [(name, framing)];
        let response = response(403, if framing.is_empty() { &[] } else { &fields });
        let (state, body) = read(&response, &input, limit, false);
        prop_assert!(body.len() <= limit);
        prop_assert!(body.len() <= input.len());
        prop_assert!(state != BodyState::Truncated || body.len() == limit || framing == "chunked");
    }
}
