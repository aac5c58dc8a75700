//! Any bytes as a server's response (RFC 6455 §4.1, RFC 9112) to the request of RFC 6455 §1.2.
//!
//! The answer may not depend on how the response was cut, and what is accepted was asked for.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sockeye_proto::deflate::DeflateOptions;
use sockeye_proto::handshake::HandshakeLimits;
use sockeye_proto::handshake::client::{ClientOptions, ClientRequest};
use sockeye_proto::handshake::http1::{Parsed, ResponseReader};
use sockeye_proto::uri::WebSocketUri;

fuzz_target!(|input: &[u8]| {
    let limits = HandshakeLimits::default();
    let parsed = ResponseReader::new(limits).read(input);
    let mut reader = ResponseReader::new(limits);
    let mut cut = Ok(Parsed::Partial);
    for end in 0..=input.len().min(4096) {
        cut = reader.read(&input[..end]);
        if cut != Ok(Parsed::Partial) {
            break;
        }
    }
    if input.len() <= 4096 {
        assert_eq!(cut, parsed);
    }

    let Ok(Parsed::Complete { head, consumed }) = parsed else {
        return;
    };
    assert!(consumed <= input.len());
    let uri = WebSocketUri::parse("ws://server.example.com/chat").expect("a valid URI");
    let mut options = ClientOptions::new();
    options.add_subprotocol("chat").expect("a token");
    options.add_subprotocol("superchat").expect("a token");
    options.set_deflate(Some(DeflateOptions::client()));
    // RFC 6455 §1.3 has this nonce, and the accept value of the seeds belongs to it.
    let request = ClientRequest::new(&uri, &options, *b"the sample nonce");
    if let Ok(established) = request.verify(&head) {
        assert_eq!(head.status(), 101);
        if let Some(subprotocol) = established.subprotocol() {
            assert!(["chat", "superchat"].contains(&subprotocol));
        }
    }
});
