//! Reading heads of HTTP/1.1: limits, and the same result however the input is cut.

use proptest::prelude::*;
use sockeye_proto::{
    extension,
    handshake::{
        HandshakeLimits, HeadError, Rejection,
        client::Response,
        http1::{Parsed, RequestReader, ResponseReader},
        server::{Request, ServerOptions, accept},
    },
    uri::WebSocketUri,
};

const LIMITS: HandshakeLimits = HandshakeLimits {
    first_line: 8192,
    header: 8192,
    headers: 100,
    total: 65536,
};

fn request_in_steps(bytes: &[u8], ends: impl Iterator<Item = usize>) -> Result<Parsed<Request>, HeadError> {
    let mut reader = RequestReader::new(LIMITS);
    for end in ends {
        match reader.read(&bytes[..end])? {
            Parsed::Partial => {}
            complete => return Ok(complete),
        }
    }
    reader.read(bytes)
}

fn response_in_steps(bytes: &[u8], ends: impl Iterator<Item = usize>) -> Result<Parsed<Response>, HeadError> {
    let mut reader = ResponseReader::new(LIMITS);
    for end in ends {
        match reader.read(&bytes[..end])? {
            Parsed::Partial => {}
            complete => return Ok(complete),
        }
    }
    reader.read(bytes)
}

/// What follows `prefix` and `filler` repeated is refused before the input ends, whole and byte by byte.
#[track_caller]
fn flood(prefix: &str, filler: &str, count: usize, error: HeadError) {
    let bytes = format!("{prefix}{}", filler.repeat(count)).into_bytes();
    for response in [false, true] {
        let first = if response {
            "HTTP/1.1 101 X\r\n"
        } else {
            "GET / HTTP/1.1\r\n"
        };
        let bytes = [first.as_bytes(), &bytes].concat();
        let (whole, stepped) = if response {
            let whole = response_in_steps(&bytes, 0..0).err();
            (whole, response_in_steps(&bytes, 0..bytes.len().min(70_000)).err())
        } else {
            let whole = request_in_steps(&bytes, 0..0).err();
            (whole, request_in_steps(&bytes, 0..bytes.len().min(70_000)).err())
        };
        assert_eq!((whole, stepped), (Some(error), Some(error)));
    }
}

#[test]
fn h2_floods_are_refused_early() {
    flood("", "a: b\r\n", 10_000, HeadError::TooManyHeaders);
    flood("a: ", "b", 10 << 20, HeadError::HeaderTooLong);
    flood("", "b", 10 << 20, HeadError::HeaderTooLong);
    flood("", &format!("a: {}\r\n", "b".repeat(8000)), 9, HeadError::TooLong);
    for error in [HeadError::TooManyHeaders, HeadError::HeaderTooLong, HeadError::TooLong] {
        assert_eq!(Rejection::from(error).status(), 431);
    }
    let target = format!("GET /{}", "a".repeat(10 << 20)).into_bytes();
    let error = request_in_steps(&target, 0..10_000).unwrap_err();
    assert_eq!(
        (error, Rejection::from(error).status()),
        (HeadError::FirstLineTooLong, 414)
    );
}

#[test]
fn limits_are_exact() {
    let head = |target: usize, value: usize, count: usize| {
        let headers = format!("a: {}\r\n", "b".repeat(value)).repeat(count);
        format!("GET /{} HTTP/1.1\r\n{headers}\r\n", "a".repeat(target)).into_bytes()
    };
    let run = |bytes: &[u8]| {
        let whole = request_in_steps(bytes, 0..0);
        assert_eq!(whole, request_in_steps(bytes, 0..bytes.len()));
        whole.map(|parsed| matches!(parsed, Parsed::Complete { .. }))
    };
    // "GET /", " HTTP/1.1" and "a: ".
    assert_eq!(run(&head(8192 - 14, 1, 1)), Ok(true));
    assert_eq!(run(&head(8192 - 13, 1, 1)), Err(HeadError::FirstLineTooLong));
    assert_eq!(run(&head(1, 8192 - 3, 1)), Ok(true));
    assert_eq!(run(&head(1, 8192 - 2, 1)), Err(HeadError::HeaderTooLong));
    assert_eq!(run(&head(1, 1, 100)), Ok(true));
    assert_eq!(run(&head(1, 1, 101)), Err(HeadError::TooManyHeaders));
    let padding = 65536 - head(1, 8000, 8).len();
    let full = [&head(1, 8000, 8)[..], &[]].concat();
    let full = String::from_utf8(full)
        .unwrap()
        .replacen("GET /a", &format!("GET /a{}", "a".repeat(padding)), 1);
    assert_eq!(full.len(), 65536);
    assert_eq!(run(full.as_bytes()), Ok(true));
    assert_eq!(
        run(full.replacen("GET /a", "GET /aa", 1).as_bytes()),
        Err(HeadError::TooLong)
    );
}

#[test]
fn what_follows_the_head_is_left_alone() {
    let bytes = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n\x81\x80\n\r\n\0";
    let Ok(Parsed::Complete { head, consumed }) = request_in_steps(bytes, 0..0) else {
        panic!()
    };
    assert_eq!((head.headers().text("host"), consumed), (Some("h"), bytes.len() - 6));
}

#[test]
fn values_beyond_ascii_are_kept_as_bytes() {
    let bytes = b"GET / HTTP/1.1\r\nX: \xff \xe9\t \r\nY:\r\n\r\n";
    let Ok(Parsed::Complete { head, .. }) = request_in_steps(bytes, 0..0) else {
        panic!()
    };
    assert_eq!(head.headers().value("x"), Some(b"\xff \xe9".as_slice()));
    assert_eq!(head.headers().text("x"), None);
    assert_eq!(head.headers().value("Y"), Some(b"".as_slice()));
}

/// Pieces of handshakes, good and bad, and arbitrary bytes between them.
fn head() -> impl Strategy<Value = Vec<u8>> {
    let pieces = prop_oneof![
        prop::sample::select(vec![
            "GET / HTTP/1.1\r\n",
            "HTTP/1.1 101 X\r\n",
            "HTTP/1.1 100 X\r\n\r\n",
            "Host: h\r\n",
            "Upgrade: websocket\r\n",
            "Connection: upgrade\r\n",
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
            "Sec-WebSocket-Version: 13\r\n",
            "Sec-WebSocket-Extensions: permessage-deflate; a=\"b\"\r\n",
            "Origin: http://h\r\n",
            "\r\n",
            "\r",
            "\n",
            " ",
            ":",
            "a",
            "\0",
        ])
        .prop_map(|text| text.as_bytes().to_vec()),
        prop::collection::vec(any::<u8>(), 0..8),
    ];
    (
        prop::sample::select(vec!["", "GET / HTTP/1.1\r\n", "HTTP/1.1 101 X\r\n"]),
        prop::collection::vec(pieces, 0..20),
    )
        .prop_map(|(first, pieces)| [first.as_bytes(), &pieces.concat()].concat())
}

proptest! {
    #[test]
    fn any_bytes_read_the_same_however_they_are_cut(bytes in head(), cuts in prop::collection::vec(0..400usize, 0..6)) {
        let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(bytes.len())).collect();
        cuts.sort_unstable();
        let whole = request_in_steps(&bytes, 0..0);
        prop_assert_eq!(&whole, &request_in_steps(&bytes, cuts.iter().copied()));
        prop_assert_eq!(&whole, &request_in_steps(&bytes, 0..bytes.len()));
        if let Ok(Parsed::Complete { head, .. }) = whole {
            let mut out = Vec::new();
            match accept(&head, &ServerOptions::new()) {
                Ok(accepted) => accepted.write_http1(&mut out),
                Err(rejection) => rejection.write_http1(&mut out),
            }
            prop_assert!(out.starts_with(b"HTTP/1.1 "));
        }
        let whole = response_in_steps(&bytes, 0..0);
        prop_assert_eq!(&whole, &response_in_steps(&bytes, cuts.iter().copied()));
        prop_assert_eq!(&whole, &response_in_steps(&bytes, 0..bytes.len()));
    }

    #[test]
    fn small_limits_strike_the_same_however_the_input_is_cut(
        bytes in head(), first_line in 0..40usize, header in 0..40usize, headers in 0..4usize, total in 0..120usize,
    ) {
        let limits = HandshakeLimits { first_line, header, headers, total };
        let whole = RequestReader::new(limits).read(&bytes);
        let mut reader = RequestReader::new(limits);
        let stepped = (0..=bytes.len())
            .map(|end| reader.read(&bytes[..end]))
            .find(|result| !matches!(result, Ok(Parsed::Partial)))
            .unwrap_or(Ok(Parsed::Partial));
        prop_assert_eq!(whole, stepped);
    }

    #[test]
    fn any_extension_header_and_uri_reads_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..64), text in ".{0,40}") {
        let mut written = String::new();
        if let Ok(list) = extension::parse([bytes.as_slice(), text.as_bytes()]) {
            extension::write(&list, &mut written).unwrap();
            prop_assert_eq!(extension::parse([written.as_bytes()]), Ok(list));
        }
        for text in [format!("ws://{text}"), format!("wss://h{text}"), text] {
            if let Ok(uri) = WebSocketUri::parse(&text) {
                let printed = uri.to_string();
                prop_assert_eq!(WebSocketUri::parse(&printed).map(|uri| uri.to_string()), Ok(printed));
            }
        }
    }
}
