//! What hostile handshakes cost in heap, by a counting allocator (THREATS H2). One test, so that nothing else
//! allocates meanwhile.

mod heap;

use heap::growth;
use sockeye_proto::handshake::{
    HandshakeLimits, HeadError, Rejection,
    http1::{Parsed, RequestReader, ResponseReader},
    server::{ServerOptions, accept},
};

#[test]
fn h2_floods_bind_at_most_64_kib_of_heap() {
    let options = ServerOptions::new();
    let many = format!("GET / HTTP/1.1\r\n{}", "a: b\r\n".repeat(10_000));
    let long = format!("GET / HTTP/1.1\r\na: {}", "b".repeat(10 << 20));
    let many_answered = many.replace("GET / HTTP/1.1", "HTTP/1.1 101 X");
    let long_answered = long.replace("GET / HTTP/1.1", "HTTP/1.1 101 X");
    for (request, response, expected) in [
        (&many, &many_answered, HeadError::TooManyHeaders),
        (&long, &long_answered, HeadError::HeaderTooLong),
    ] {
        let (error, heap) = growth(|| {
            RequestReader::new(HandshakeLimits::default())
                .read(request.as_bytes())
                .err()
        });
        assert_eq!((error, heap), (Some(expected), 0));
        assert_eq!(Rejection::from(expected).status(), 431);
        let (error, heap) = growth(|| {
            ResponseReader::new(HandshakeLimits::default())
                .read(response.as_bytes())
                .err()
        });
        assert_eq!((error, heap), (Some(expected), 0));
    }

    // The largest request that passes: its headers once, beside the caller's buffer.
    let list = format!("Sec-WebSocket-Protocol: {}\r\n", "a,".repeat(3900)).repeat(7);
    let full = format!(
        "GET / HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: upgrade\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{list}\r\n"
    );
    let (parsed, heap) = growth(|| RequestReader::new(HandshakeLimits::default()).read(full.as_bytes()));
    let Ok(Parsed::Complete { head, .. }) = parsed else {
        panic!("{parsed:?}")
    };
    assert!(heap <= 64 * 1024, "{heap}");
    let (accepted, heap) = growth(|| accept(&head, &options));
    assert!(accepted.is_ok() && heap <= 64 * 1024, "{heap}");
}
