//! WebSocket URIs (RFC 6455 §3).

use sockeye_proto::uri::{UriError, WebSocketUri};

fn uri(text: &str) -> WebSocketUri {
    WebSocketUri::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

#[test]
fn ports_default_to_80_and_443() {
    for (text, secure, port, host_header) in [
        ("ws://example.com", false, 80, "example.com"),
        ("WS://Example.COM:80/", false, 80, "example.com"),
        ("ws://example.com:443/", false, 443, "example.com:443"),
        ("wss://example.com/", true, 443, "example.com"),
        ("WsS://example.com:/", true, 443, "example.com"),
        ("wss://example.com:80/", true, 80, "example.com:80"),
        ("ws://127.0.0.1:9001/", false, 9001, "127.0.0.1:9001"),
    ] {
        let uri = uri(text);
        assert_eq!((uri.secure(), uri.port()), (secure, port), "{text}");
        assert_eq!(uri.host_header(), host_header, "{text}");
    }
}

#[test]
fn ipv6_hosts_lose_their_brackets_for_connecting() {
    let address = uri("ws://[2001:DB8:0::1]:8080/x");
    assert_eq!((address.host(), address.port()), ("2001:db8::1", 8080));
    assert_eq!(address.host_header(), "[2001:db8::1]:8080");
    assert_eq!(uri("wss://[::1]").host_header(), "[::1]");
}

#[test]
fn the_resource_name_is_path_and_query() {
    for (text, resource) in [
        ("ws://h", "/"),
        ("ws://h?a=b", "/?a=b"),
        ("ws://h/?", "/"),
        ("ws://h/chat?room=1&x=/?@:", "/chat?room=1&x=/?@:"),
        ("ws://h//a/../b%20c", "//a/../b%20c"),
    ] {
        assert_eq!(uri(text).resource(), resource, "{text}");
    }
}

#[test]
fn user_information_becomes_basic_authorization_and_is_never_printed() {
    let uri = uri("wss://al%40ice:s%3Acr%E2%82%ACt@example.com/");
    assert_eq!((uri.username(), uri.password()), (Some("al@ice"), Some("s:cr€t")));
    assert_eq!(uri.authorization().as_deref(), Some("Basic YWxAaWNlOnM6Y3Ligqx0"));
    for printed in [format!("{uri}"), format!("{uri:?}")] {
        assert!(printed.contains("wss://example.com/"), "{printed}");
        assert!(!printed.contains("cr€") && !printed.contains("ice"), "{printed}");
    }
    // RFC 7617 §2 has this example.
    let aladdin = WebSocketUri::parse("ws://Aladdin:open%20sesame@h/").unwrap();
    assert_eq!(
        aladdin.authorization().as_deref(),
        Some("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==")
    );
    assert_eq!(WebSocketUri::parse("ws://user@h/").unwrap().password(), Some(""));
    assert_eq!(WebSocketUri::parse("ws://@h/").unwrap().authorization(), None);
}

#[test]
fn malformed_uris_are_refused() {
    let long = format!("ws://h/{}", "a".repeat(WebSocketUri::MAX_LENGTH));
    for (text, error) in [
        ("", UriError::Scheme),
        ("example.com", UriError::Scheme),
        ("http://h/", UriError::Scheme),
        ("https://h/", UriError::Scheme),
        ("ws:/h/", UriError::Scheme),
        ("//h/", UriError::Scheme),
        ("ws://", UriError::Host),
        ("ws:///path", UriError::Host),
        ("ws://:80/", UriError::Host),
        ("ws://h_[1]/", UriError::Host),
        ("ws://[::1/", UriError::Host),
        ("ws://[::1]x/", UriError::Host),
        ("ws://[1.2.3.4]/", UriError::Host),
        ("ws://[fe80::1%25eth0]/", UriError::Host),
        ("ws://1.2.3.256/", UriError::Host),
        ("ws://127.1/", UriError::Host),
        ("ws://good.com\\@evil.com/", UriError::UserInfo),
        ("ws://good.com@evil.com@h/", UriError::UserInfo),
        ("ws://good.com\\evil.com/", UriError::Host),
        ("ws://h:0/", UriError::Port),
        ("ws://h:65536/", UriError::Port),
        ("ws://h:+80/", UriError::Port),
        ("ws://h:8a/", UriError::Port),
        ("ws://h/#", UriError::Fragment),
        ("ws://h/a#b", UriError::Fragment),
        ("ws://%zz@h/", UriError::UserInfo),
        ("ws://%4@h/", UriError::UserInfo),
        ("ws://%ff@h/", UriError::UserInfo),
        ("ws://a%3Ab@h/", UriError::UserInfo),
        ("ws://a:%0D%0A@h/", UriError::UserInfo),
        (long.as_str(), UriError::TooLong),
    ] {
        assert_eq!(WebSocketUri::parse(text), Err(error), "{text}");
    }
}

#[test]
fn h6_cr_lf_nul_and_spaces_in_a_uri() {
    for (text, byte) in [
        ("ws://h/a\r\nX: y", b'\r'),
        ("ws://h/a\nX: y", b'\n'),
        ("ws://h/\0", 0),
        ("ws://h/a b", b' '),
        (" ws://h/", b' '),
        ("ws://h/\u{e9}", 0xc3),
        ("ws://h\u{f6}st/", 0xc3),
        ("ws://us\r\ner@h/", b'\r'),
    ] {
        assert_eq!(WebSocketUri::parse(text), Err(UriError::IllegalByte(byte)), "{text:?}");
    }
}

#[test]
fn h10_redirects_strip_credentials_and_never_leave_wss() {
    let from = uri("wss://user:secret@example.com/a/b?c");
    for (location, to, credentials) in [
        ("/login", "wss://example.com/login", true),
        ("d", "wss://example.com/a/d", true),
        ("?e", "wss://example.com/a/b?e", true),
        ("https://example.com:443/x#top", "wss://example.com/x", true),
        ("wss://EXAMPLE.com/x?u=ws://y", "wss://example.com/x?u=ws://y", true),
        ("//evil.com/", "wss://evil.com/", false),
        ("https://example.com:444/", "wss://example.com:444/", false),
        ("https://example.com.evil.com/", "wss://example.com.evil.com/", false),
    ] {
        let target = from
            .redirect(location)
            .unwrap_or_else(|error| panic!("{location}: {error}"));
        assert_eq!(target.to_string(), to, "{location}");
        assert_eq!(target.authorization().is_some(), credentials, "{location}");
        assert_eq!(from.same_origin(&target), credentials, "{location}");
    }
    for location in ["ws://example.com/", "http://example.com/"] {
        assert_eq!(from.redirect(location), Err(UriError::Downgrade));
    }
    assert_eq!(from.redirect("ftp://example.com/"), Err(UriError::Scheme));
    assert_eq!(from.redirect("/a\r\nb"), Err(UriError::IllegalByte(b'\r')));
    let upgraded = uri("ws://user@example.com/").redirect("wss://example.com/").unwrap();
    assert_eq!(upgraded.authorization(), None, "another scheme is another origin");
}

/// RFC 3986 §5.4, the examples that a WebSocket URI can have, seen from `/b/c/d;p?q`.
#[test]
fn rfc3986_5_4_references_are_resolved() {
    let from = uri("ws://a/b/c/d;p?q");
    for (location, to) in [
        ("g", "/b/c/g"),
        ("./g", "/b/c/g"),
        ("g/", "/b/c/g/"),
        ("/g", "/g"),
        ("?y", "/b/c/d;p?y"),
        ("g?y", "/b/c/g?y"),
        ("#s", "/b/c/d;p?q"),
        ("g#s", "/b/c/g"),
        (";x", "/b/c/;x"),
        ("", "/b/c/d;p?q"),
        (".", "/b/c/"),
        ("./", "/b/c/"),
        ("..", "/b/"),
        ("../", "/b/"),
        ("../g", "/b/g"),
        ("../..", "/"),
        ("../../", "/"),
        ("../../g", "/g"),
        ("../../../g", "/g"),
        ("../../../../g", "/g"),
        ("/./g", "/g"),
        ("/../g", "/g"),
        ("g.", "/b/c/g."),
        (".g", "/b/c/.g"),
        ("g..", "/b/c/g.."),
        ("./../g", "/b/g"),
        ("./g/.", "/b/c/g/"),
        ("g/./h", "/b/c/g/h"),
        ("g/../h", "/b/c/h"),
        ("g;x=1/../y", "/b/c/y"),
        ("g?y/../x", "/b/c/g?y/../x"),
        ("//a/x/../y//z/..", "/y//"),
        ("http://a/%2e%2e/x/../y", "/%2e%2e/y"),
    ] {
        let target = from
            .redirect(location)
            .unwrap_or_else(|error| panic!("{location}: {error}"));
        assert_eq!(target.resource(), to, "{location}");
    }
    for location in ["g:h", "mailto:a", "http:g", "data:text/plain,a/b"] {
        assert_eq!(from.redirect(location), Err(UriError::Scheme), "{location}");
    }
}
