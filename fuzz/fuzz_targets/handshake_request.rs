//! Any bytes as a client's request (RFC 6455 §4.2.1, RFC 9112).
//!
//! The answer may not depend on how the request was cut, and each request that is complete gets a response that a
//! client can read: 101, or the status of its rejection.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sockeye_proto::deflate::DeflateOptions;
use sockeye_proto::handshake::http1::{Parsed, RequestReader, ResponseReader};
use sockeye_proto::handshake::server::{ServerOptions, accept};
use sockeye_proto::handshake::{HandshakeLimits, Rejection};

fuzz_target!(|input: &[u8]| {
    let limits = HandshakeLimits::default();
    let parsed = RequestReader::new(limits).read(input);
    let mut reader = RequestReader::new(limits);
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

    let mut response = Vec::new();
    let status = match parsed {
        Ok(Parsed::Partial) => return,
        Ok(Parsed::Complete { head, consumed }) => {
            assert!(consumed <= input.len());
            match accept(&head, &options()) {
                Ok(accepted) => {
                    accepted.write_http1(&mut response);
                    accepted.status()
                }
                Err(rejection) => {
                    rejection.write_http1(&mut response);
                    rejection.status()
                }
            }
        }
        Err(error) => {
            let rejection = Rejection::from(error);
            rejection.write_http1(&mut response);
            rejection.status()
        }
    };
    match ResponseReader::new(limits).read(&response) {
        Ok(Parsed::Complete { head, .. }) => assert_eq!(head.status(), status),
        other => panic!("a response of ours cannot be read: {other:?}"),
    }
});

fn options() -> ServerOptions {
    let mut options = ServerOptions::new();
    options.add_subprotocol("chat").expect("a token");
    options.set_deflate(Some(DeflateOptions::server()));
    options
}
