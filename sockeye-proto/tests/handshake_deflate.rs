//! permessage-deflate in the opening handshake (RFC 7692 §7.1), both roles.
#![cfg(feature = "deflate")]

use sockeye_proto::{
    deflate::{DeflateDirection, DeflateOptions, DeflateOptionsError, DeflateParams, accept_response, answer, offers},
    extension::{self, NegotiationError},
};

fn client() -> DeflateOptions {
    DeflateOptions::client()
}

fn server() -> DeflateOptions {
    DeflateOptions::server()
        .with_own_context_takeover(true)
        .with_peer_context_takeover(true)
}

fn params(client_takeover: bool, client_bits: u8, server_takeover: bool, server_bits: u8) -> DeflateParams {
    let direction = |context_takeover, max_window_bits| DeflateDirection {
        context_takeover,
        max_window_bits,
    };
    DeflateParams::new(
        direction(client_takeover, client_bits),
        direction(server_takeover, server_bits),
    )
    .unwrap()
}

#[track_caller]
fn answered(options: &DeflateOptions, offers: &str) -> Option<(DeflateParams, String)> {
    answer(options, &extension::parse([offers.as_bytes()]).unwrap())
}

fn verified(options: &DeflateOptions, response: &str) -> Result<Option<DeflateParams>, NegotiationError> {
    accept_response(options, &extension::parse([response.as_bytes()])?)
}

#[test]
fn agreed_parameters_are_four_bytes() {
    assert_eq!(size_of::<DeflateParams>(), 4);
    assert_eq!(size_of::<Option<DeflateParams>>(), 4);
    let bad = DeflateDirection {
        context_takeover: true,
        max_window_bits: 7,
    };
    assert_eq!(DeflateParams::new(bad, bad), None);
}

#[test]
fn options_hold_only_what_the_codec_can_do() {
    for bits in [0, 7, 8, 16, 255] {
        assert_eq!(
            client().with_own_max_window_bits(bits),
            Err(DeflateOptionsError::WindowBits(bits))
        );
        assert_eq!(
            client().with_peer_max_window_bits(bits),
            Err(DeflateOptionsError::WindowBits(bits))
        );
    }
    assert_eq!(client().with_level(0), Err(DeflateOptionsError::Level(0)));
    assert_eq!(
        client().with_memory_level(10),
        Err(DeflateOptionsError::MemoryLevel(10))
    );
}

#[test]
fn a_client_offers_its_wish_first_and_plainer_ones_after_it() {
    assert_eq!(
        offers(&client()),
        "permessage-deflate; client_max_window_bits, permessage-deflate"
    );
    assert_eq!(
        offers(&client().with_own_max_window_bits_offered(false)),
        "permessage-deflate"
    );
    let limited = client()
        .with_own_context_takeover(false)
        .with_peer_context_takeover(false)
        .with_own_max_window_bits(11)
        .and_then(|options| options.with_peer_max_window_bits(10))
        .unwrap();
    let strict = "permessage-deflate; server_no_context_takeover; client_no_context_takeover; \
                  server_max_window_bits=10; client_max_window_bits=11, \
                  permessage-deflate; server_no_context_takeover; server_max_window_bits=10";
    assert_eq!(offers(&limited), strict);
    let lenient = limited.with_peer_limits_required(false);
    assert_eq!(offers(&lenient), format!("{strict}, permessage-deflate"));
}

#[test]
fn a_client_takes_what_fits_its_offers() {
    assert_eq!(verified(&client(), ""), Ok(None));
    for (response, expected) in [
        ("permessage-deflate", params(true, 15, true, 15)),
        (
            "permessage-deflate; client_max_window_bits=10",
            params(true, 10, true, 15),
        ),
        (
            "permessage-deflate; client_max_window_bits=8",
            params(true, 8, true, 15),
        ),
        (
            "permessage-deflate; client_max_window_bits=\"9\"",
            params(true, 9, true, 15),
        ),
        (
            "permessage-deflate; server_max_window_bits=8",
            params(true, 15, true, 8),
        ),
        (
            "permessage-deflate; server_no_context_takeover",
            params(true, 15, false, 15),
        ),
        (
            "permessage-deflate; client_no_context_takeover",
            params(false, 15, true, 15),
        ),
    ] {
        assert_eq!(verified(&client(), response), Ok(Some(expected)), "{response}");
    }
    // What the client asked of itself holds, whatever the server says.
    let modest = client()
        .with_own_context_takeover(false)
        .with_own_max_window_bits(10)
        .unwrap();
    assert_eq!(
        verified(&modest, "permessage-deflate"),
        Ok(Some(params(false, 10, true, 15)))
    );
}

#[test]
fn d4_ill_valued_parameters_fail_the_client() {
    for value in [
        "", "=7", "=16", "=1000", "=08", "=0", "=-9", "=1O", "=\"\"", "=255", "=264",
    ] {
        for name in ["server_max_window_bits", "client_max_window_bits"] {
            let response = format!("permessage-deflate; {name}{value}");
            let error = verified(&client(), &response).unwrap_err();
            let malformed = matches!(error, NegotiationError::Malformed(_)) && value == "=\"\"";
            assert!(
                error == NegotiationError::IllegalValue || malformed,
                "{response}: {error}"
            );
        }
    }
    for (response, error) in [
        (
            "permessage-deflate; server_no_context_takeover=1",
            NegotiationError::IllegalValue,
        ),
        (
            "permessage-deflate; client_no_context_takeover=true",
            NegotiationError::IllegalValue,
        ),
        ("permessage-deflate; mystery", NegotiationError::UnknownParameter),
        (
            "permessage-deflate; Server_No_Context_Takeover",
            NegotiationError::UnknownParameter,
        ),
        (
            "permessage-deflate; server_max_window_bits=9; server_max_window_bits=9",
            NegotiationError::RepeatedParameter,
        ),
        (
            "permessage-deflate; client_no_context_takeover; client_no_context_takeover",
            NegotiationError::RepeatedParameter,
        ),
        ("permessage-deflate, permessage-deflate", NegotiationError::Repeated),
        ("x-webkit-deflate-frame", NegotiationError::NotOffered),
        ("permessage-deflate, x-other", NegotiationError::NotOffered),
    ] {
        assert_eq!(verified(&client(), response), Err(error), "{response}");
    }
}

#[test]
fn a_client_refuses_an_answer_beyond_its_offer() {
    let limited = client()
        .with_peer_context_takeover(false)
        .with_peer_max_window_bits(10)
        .and_then(|options| options.with_own_max_window_bits(12))
        .unwrap();
    for (response, error) in [
        ("permessage-deflate", NegotiationError::ServerNoContextTakeoverMissing),
        (
            "permessage-deflate; server_max_window_bits=10",
            NegotiationError::ServerNoContextTakeoverMissing,
        ),
        (
            "permessage-deflate; server_no_context_takeover",
            NegotiationError::ServerMaxWindowBitsMissing,
        ),
        (
            "permessage-deflate; server_no_context_takeover; server_max_window_bits=11",
            NegotiationError::ServerMaxWindowBitsTooLarge,
        ),
        (
            "permessage-deflate; server_no_context_takeover; server_max_window_bits=9; client_max_window_bits=13",
            NegotiationError::ClientMaxWindowBitsTooLarge,
        ),
    ] {
        assert_eq!(verified(&limited, response), Err(error), "{response}");
    }
    let fine = "permessage-deflate; server_no_context_takeover; server_max_window_bits=9";
    assert_eq!(verified(&limited, fine), Ok(Some(params(true, 12, false, 9))));
    let lenient = limited.with_peer_limits_required(false);
    assert_eq!(
        verified(&lenient, "permessage-deflate"),
        Ok(Some(params(true, 12, true, 15)))
    );

    let silent = client().with_own_max_window_bits_offered(false);
    let hinted = verified(&silent, "permessage-deflate; client_max_window_bits=10");
    assert_eq!(hinted, Err(NegotiationError::ClientMaxWindowBitsNotOffered));
}

#[test]
fn d5_client_max_window_bits_is_never_answered_unless_offered() {
    for bits in 9..=15 {
        for required in [false, true] {
            let options = server()
                .with_peer_max_window_bits(bits)
                .unwrap()
                .with_peer_limits_required(required);
            match answered(&options, "permessage-deflate; server_max_window_bits=12") {
                Some((_, value)) => assert!(!value.contains("client_max_window_bits"), "{value}"),
                // The limit is required and cannot be asked for: no compression.
                None => assert!(required && bits < 15),
            }
            let (agreed, value) = answered(&options, "permessage-deflate; client_max_window_bits").unwrap();
            assert_eq!(agreed.client_max_window_bits(), bits);
            assert_eq!(value.contains("client_max_window_bits"), bits < 15, "{value}");
        }
    }
}

#[test]
fn d6_a_server_window_of_8_is_declined_and_a_client_window_of_8_is_fine() {
    assert_eq!(
        answered(&server(), "permessage-deflate; server_max_window_bits=8"),
        None
    );
    let (agreed, value) = answered(
        &server(),
        "permessage-deflate; server_max_window_bits=8, permessage-deflate",
    )
    .unwrap();
    assert_eq!(
        (agreed, value.as_str()),
        (params(true, 15, true, 15), "permessage-deflate")
    );
    let (agreed, value) = answered(&server(), "permessage-deflate; client_max_window_bits=8").unwrap();
    assert_eq!(agreed, params(true, 8, true, 15));
    assert_eq!(value, "permessage-deflate; client_max_window_bits=8");
    let (agreed, value) = answered(&server(), "permessage-deflate; server_max_window_bits=9").unwrap();
    assert_eq!(agreed, params(true, 15, true, 9));
    assert_eq!(value, "permessage-deflate; server_max_window_bits=9");
}

#[test]
fn a_server_answers_the_offers_of_autobahn_13() {
    for (offer, value, agreed) in [
        ("permessage-deflate", "permessage-deflate", params(true, 15, true, 15)),
        (
            "permessage-deflate; client_no_context_takeover; server_no_context_takeover",
            "permessage-deflate; server_no_context_takeover; client_no_context_takeover",
            params(false, 15, false, 15),
        ),
        (
            "permessage-deflate; client_max_window_bits; server_max_window_bits=9",
            "permessage-deflate; server_max_window_bits=9",
            params(true, 15, true, 9),
        ),
        // 13.7 sends three, each with a fallback to the next.
        (
            "permessage-deflate; client_no_context_takeover; client_max_window_bits; server_no_context_takeover; \
             server_max_window_bits=9, permessage-deflate; client_no_context_takeover; client_max_window_bits, \
             permessage-deflate; client_no_context_takeover",
            "permessage-deflate; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=9",
            params(false, 15, false, 9),
        ),
        (
            "permessage-deflate; server_max_window_bits=8, permessage-deflate; mystery, x-other, \
             permessage-deflate; client_no_context_takeover",
            "permessage-deflate; client_no_context_takeover",
            params(false, 15, true, 15),
        ),
    ] {
        assert_eq!(answered(&server(), offer), Some((agreed, value.to_owned())), "{offer}");
    }
}

#[test]
fn a_malformed_offer_is_declined_alone() {
    for offer in [
        "permessage-deflate; mystery",
        "permessage-deflate; server_no_context_takeover=1",
        "permessage-deflate; server_max_window_bits",
        "permessage-deflate; server_max_window_bits=16",
        "permessage-deflate; server_max_window_bits=08",
        "permessage-deflate; client_max_window_bits=7",
        "permessage-deflate; client_max_window_bits; client_max_window_bits=9",
        "Permessage-Deflate",
        "",
    ] {
        assert_eq!(answered(&server(), offer), None, "{offer}");
        let next = format!("{offer}, permessage-deflate");
        assert!(answered(&server(), &next).is_some(), "{next}");
    }
}

#[test]
fn a_server_by_default_keeps_no_context() {
    let (agreed, value) = answered(&DeflateOptions::server(), "permessage-deflate; client_max_window_bits").unwrap();
    assert_eq!(agreed, params(false, 15, false, 15));
    assert_eq!(
        value,
        "permessage-deflate; server_no_context_takeover; client_no_context_takeover"
    );
    let small = server().with_own_max_window_bits(10).unwrap();
    let (agreed, value) = answered(&small, "permessage-deflate; server_max_window_bits=12").unwrap();
    assert_eq!(
        (agreed.server_max_window_bits(), value.as_str()),
        (10, "permessage-deflate; server_max_window_bits=10")
    );
}

/// Every pair of a client's and a server's options either agrees on one set of parameters or goes without.
#[test]
fn both_roles_agree_on_the_same_parameters() {
    let mut compressed = 0;
    for bits in 0..256 {
        let flag = |index: u32| bits >> index & 1 == 1;
        let window = |index: u32| if flag(index) { 10 } else { 15 };
        let client = client()
            .with_own_context_takeover(flag(0))
            .with_peer_context_takeover(flag(1))
            .with_own_max_window_bits(window(2))
            .and_then(|options| options.with_peer_max_window_bits(window(3)))
            .unwrap();
        let server = server()
            .with_own_context_takeover(flag(4))
            .with_peer_context_takeover(flag(5))
            .with_own_max_window_bits(window(6))
            .and_then(|options| options.with_peer_max_window_bits(window(7)))
            .unwrap();
        for offered in [false, true] {
            let client = client.with_own_max_window_bits_offered(offered);
            let Some((agreed, value)) = answered(&server, &offers(&client)) else {
                assert!(!offered && flag(7));
                continue;
            };
            compressed += 1;
            let verified = verified(&client, &value).unwrap().unwrap();
            assert_eq!(verified.server_to_client(), agreed.server_to_client(), "{value}");
            // The client may do less than the server must be ready for.
            let (own, ready) = (verified.client_to_server(), agreed.client_to_server());
            assert!(own.max_window_bits <= ready.max_window_bits && own.context_takeover <= ready.context_takeover);
        }
    }
    assert!(compressed >= 256, "{compressed}");
}

/// Through the whole handshake of both roles.
#[test]
fn deflate_is_negotiated_by_the_handshakes() {
    use sockeye_proto::{
        handshake::{
            HandshakeLimits,
            client::{ClientOptions, ClientRequest},
            http1::{Parsed, RequestReader, ResponseReader},
            server::{ServerOptions, accept},
        },
        uri::WebSocketUri,
    };
    let uri = WebSocketUri::parse("ws://example.com/").unwrap();
    let mut client_options = ClientOptions::new();
    client_options.set_deflate(Some(client()));
    let request = ClientRequest::new(&uri, &client_options, [7; 16]);
    let mut server_options = ServerOptions::new();
    server_options.set_deflate(Some(DeflateOptions::server()));

    let mut bytes = Vec::new();
    request.write_http1(&mut bytes);
    let Ok(Parsed::Complete { head, .. }) = RequestReader::new(HandshakeLimits::default()).read(&bytes) else {
        panic!()
    };
    let mut accepted = accept(&head, &server_options).unwrap();
    bytes.clear();
    accepted.write_http1(&mut bytes);
    let Ok(Parsed::Complete { head, .. }) = ResponseReader::new(HandshakeLimits::default()).read(&bytes) else {
        panic!()
    };
    let established = request.verify(&head).unwrap();
    assert_eq!(established.deflate(), Some(params(false, 15, false, 15)));
    assert_eq!(established.deflate(), accepted.deflate());

    accepted.decline_deflate();
    assert_eq!(accepted.deflate(), None);
    assert!(!accepted.headers().contains("Sec-WebSocket-Extensions"));
}
