//! The flags of `sockeye connect` for the way to a server and the request: the built program, real proxies, certificates
//! of our own, and servers that refuse and redirect.
#![forbid(unsafe_code)]
#![cfg(unix)]

mod support;

use std::io::Read;
use std::thread;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair};
use support::programs::started::free_port;
use support::programs::{microsocks, tinyproxy};
use support::{Running, Server, answers, file, handshake, listen, run, run_in};

#[test]
fn proxy_an_http_one_with_credentials() {
    let server = Server::start("echo", &[]);
    let Some(proxy) = tinyproxy("alice", "s3cret") else {
        return;
    };
    is_reached_through("http", proxy.port, &server);
    // Its demand is told with its page, and without what was asked with.
    let wrong = format!("http://alice:wr0ng@127.0.0.1:{}", proxy.port);
    let ended = run(&["connect", &server.url("/"), "--proxy", &wrong], b"");
    assert_eq!((ended.code, ended.stdout()), (2, ""));
    let talk = &ended.stderr;
    assert!(talk.contains("the proxy") && talk.contains("status 40"), "{talk}");
    assert!(talk.lines().count() > 1 && !talk.contains("wr0ng"), "{talk}");
    assert!(!talk.contains("--proxy"), "they were given: {talk}");
}

#[test]
fn proxy_socks5_and_socks5h_with_credentials() {
    let server = Server::start("echo", &[]);
    let Some(proxy) = microsocks("alice", "s3cret") else {
        return;
    };
    for scheme in ["socks5", "socks5h"] {
        is_reached_through(scheme, proxy.port, &server);
        let wrong = format!("{scheme}://alice:wr0ng@127.0.0.1:{}", proxy.port);
        let ended = run(&["connect", &server.url("/"), "--proxy", &wrong], b"");
        assert_eq!(ended.code, 2);
        assert!(
            ended.stderr.contains("does not accept the credentials"),
            "{}",
            ended.stderr
        );
        assert!(!ended.stderr.contains("wr0ng"), "{}", ended.stderr);
    }
}

/// With the right credentials, by flag and by environment; that without them there is no way shows that this was it.
fn is_reached_through(scheme: &str, port: u16, server: &Server) {
    let url = server.url("/");
    let proxy = format!("{scheme}://alice:s3cret@127.0.0.1:{port}");
    let ended = run(&["connect", &url, "--proxy", &proxy], b"through\n");
    assert_eq!((ended.code, ended.stdout()), (0, "through\n"), "{}", ended.stderr);
    assert!(!ended.stderr.contains("s3cret"), "{}", ended.stderr);
    let without = format!("{scheme}://127.0.0.1:{port}");
    let ended = run(&["connect", &url, "--proxy", &without], b"");
    assert_eq!(ended.code, 2);
    let way_out = "--proxy SCHEME://USER:PASSWORD@HOST";
    assert!(ended.stderr.contains(way_out), "{}", ended.stderr);

    for variable in ["HTTP_PROXY", "all_proxy"] {
        let through = run_in(&[(variable, &proxy)], &["connect", &url], b"through\n");
        assert_eq!((through.code, through.stdout()), (0, "through\n"), "{}", through.stderr);
        assert_eq!(run_in(&[(variable, &without)], &["connect", &url], b"").code, 2);
    }
}

#[test]
fn no_proxy_by_flag_and_by_environment() {
    let server = Server::start("echo", &[]);
    let url = server.url("/");
    let nobody = format!("http://127.0.0.1:{}", free_port());
    let ended = run_in(&[("HTTP_PROXY", &nobody)], &["connect", &url], b"");
    assert_eq!(ended.code, 2);
    assert!(
        ended.stderr.contains("could not connect to the proxy"),
        "{}",
        ended.stderr
    );
    for (variables, flags) in [
        (&[("HTTP_PROXY", nobody.as_str())][..], &["--no-proxy"][..]),
        (&[("HTTP_PROXY", &nobody), ("NO_PROXY", "127.0.0.0/8")], &[]),
        (&[("HTTPS_PROXY", &nobody)], &[]),
        // Whoever goes through none does not mind what the variable holds.
        (&[("HTTP_PROXY", "nonsense://")], &["--no-proxy"]),
    ] {
        let ended = run_in(variables, &[&["connect", &url], flags].concat(), b"direct\n");
        assert_eq!((ended.code, ended.stdout()), (0, "direct\n"), "{}", ended.stderr);
    }
}

#[test]
fn credentials_headers_and_origin_are_sent_as_given() {
    for (flags, line) in [
        (
            &["--user", "alice:s3:cret"][..],
            "Authorization: Basic YWxpY2U6czM6Y3JldA==",
        ),
        (&["--bearer", "s3cret.token"], "Authorization: Bearer s3cret.token"),
        (&["--origin", "https://example.com"], "Origin: https://example.com"),
        (&["--origin", "null"], "Origin: null"),
        (&["-H", "Cookie: id=s3cret"], "Cookie: id=s3cret"),
        (&["--compress"], "Sec-WebSocket-Extensions: permessage-deflate"),
    ] {
        let (address, serving) = answers(vec!["HTTP/1.1 401 Who\r\nContent-Length: 0\r\n\r\n".into()]);
        let url = format!("ws://bob:passw0rd@{address}/");
        let ended = run(&[&["connect", &url], flags].concat(), b"");
        let head = serving.join().unwrap().remove(0);
        assert!(
            head.lines().any(|other| other.starts_with(line)),
            "{line} is not in {head}"
        );
        let authorizations = head.lines().filter(|line| line.starts_with("Authorization: ")).count();
        assert_eq!(authorizations, 1, "in place of those in the URL: {head}");
        assert_eq!(ended.code, 1);
        for secret in ["s3cret", "s3:cret", "passw0rd"] {
            assert!(!ended.stderr.contains(secret), "{}", ended.stderr);
        }
    }
}

#[test]
fn a_refusal_is_told_with_status_reason_and_the_first_lines() {
    let body = "no \u{1b}[2Jentry\r\n\r\n2\n3\n4\n5\n6\n";
    let response = format!(
        "HTTP/1.1 503 Overloaded\r\nRetry-After: 7\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let (address, serving) = answers(vec![response]);
    let ended = run(&["connect", &format!("ws://{address}/")], b"");
    serving.join().unwrap();
    assert_eq!((ended.code, ended.stdout()), (1, ""));
    assert_eq!(
        ended.stderr,
        "sockeye: refused: the server answered with status 503 Service Unavailable; it asks to come back in 7 s\n  \
         no \\u{1b}[2Jentry\n  2\n  3\n  4\n  5\n  …\n"
    );
}

/// The way out is named to who has not taken it.
#[test]
fn who_gave_no_credentials_is_told_how_to() {
    for (user, flags, told) in [
        ("", &[][..], true),
        ("", &["-H", "Cookie: a=b"], true),
        ("bob:passw0rd@", &[], false),
        ("", &["--user", "bob:passw0rd"], false),
        ("", &["--bearer", "passw0rd"], false),
        ("", &["-H", "authorization: passw0rd"], false),
    ] {
        for reconnect in [&[][..], &["--reconnect"]] {
            let (address, serving) = answers(vec!["HTTP/1.1 401 Who\r\nContent-Length: 0\r\n\r\n".into()]);
            let url = format!("ws://{user}{address}/");
            let ended = run(&[&["connect", &url], flags, reconnect].concat(), b"");
            serving.join().unwrap();
            assert_eq!(ended.code, 1);
            let way_out = "say who you are by --user USER:PASSWORD or --bearer TOKEN";
            assert_eq!(ended.stderr.contains(way_out), told, "{flags:?}: {}", ended.stderr);
        }
    }
}

#[test]
fn follow_goes_where_the_server_says() {
    let server = Server::start("echo", &[]);
    let there = redirect(&server.url("/there"));
    // Without a number, with one behind a space, and with one behind an equals sign.
    for follow in [&["--follow"][..], &["--follow", "2"], &["--follow=1"]] {
        let (address, serving) = answers(vec![there.clone()]);
        let url = format!("ws://{address}/");
        let ended = run(&[&["connect"], follow, &[&url]].concat(), b"here\n");
        serving.join().unwrap();
        assert_eq!((ended.code, ended.stdout()), (0, "here\n"), "{}", ended.stderr);
    }
    for follow in [&[][..], &["--follow", "0"]] {
        let (address, serving) = answers(vec![there.clone()]);
        let ended = run(&[&["connect", &format!("ws://{address}/")], follow].concat(), b"");
        serving.join().unwrap();
        assert_eq!(ended.code, 1);
        assert!(
            ended.stderr.contains("302 Found and names ws://") && ended.stderr.contains("--follow"),
            "{}",
            ended.stderr
        );
    }
    let (address, serving) = answers(vec![redirect("/two"), redirect("/three")]);
    let ended = run(&["connect", &format!("ws://{address}/one"), "--follow", "1"], b"");
    serving.join().unwrap();
    assert_eq!(ended.code, 1);
    assert!(ended.stderr.contains("too many redirects"), "{}", ended.stderr);
}

/// H10: what was for one server is not shown to another.
#[test]
fn h10_follow_takes_no_credentials_along() {
    let (there, asked) = answers(vec!["HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n".into()]);
    let (here, serving) = answers(vec![redirect(&format!("ws://{there}/"))]);
    let url = format!("ws://{here}/");
    let ended = run(&["connect", &url, "--follow", "--user", "alice:s3cret"], b"");
    assert_eq!(ended.code, 1);
    assert!(serving.join().unwrap()[0].contains("Authorization: Basic "));
    assert!(!asked.join().unwrap()[0].contains("Authorization"));
}

fn redirect(location: &str) -> String {
    format!("HTTP/1.1 302 Found\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n")
}

#[test]
fn cert_and_key_say_who_the_client_is() {
    let authority = Authority::new();
    let (ca, server_cert, server_key) = authority.files("mtls-server", |_| {});
    let (_, cert, key) = authority.files("mtls-client", |params| {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    });
    for command in ["echo", "serve"] {
        let server = Server::start(
            command,
            &["--cert", &server_cert, "--key", &server_key, "--client-ca", &ca],
        );
        let url = server.url("/echo");
        assert!(url.starts_with("wss://"));
        let known = ["connect", &url, "--ca", &ca, "--cert", &cert, "--key", &key];
        let ended = run(&known, b"it is me\n");
        assert_eq!((ended.code, ended.stdout()), (0, "it is me\n"), "{}", ended.stderr);
        let ended = run(&["connect", &url, "--ca", &ca], b"");
        assert_eq!(ended.code, 2);
        assert!(ended.stderr.contains("--cert FILE --key FILE"), "{}", ended.stderr);
    }
}

#[test]
fn ca_adds_to_ssl_cert_file_which_stands_for_the_system() {
    let authority = Authority::new();
    let (ca, cert, key) = authority.files("trust", |_| {});
    let (other, _, _) = Authority::new().files("trust-other", |_| {});
    let missing = format!("{ca}.not");
    let server = Server::start("echo", &["--cert", &cert, "--key", &key]);
    let url = server.url("/");
    for (file, flags) in [
        (&ca, &[][..]),
        (&ca, &["--ca", &other]),
        (&other, &["--ca", &ca]),
        (&missing, &["--insecure"]),
    ] {
        let arguments = [&["connect", &url], flags].concat();
        let ended = run_in(&[("SSL_CERT_FILE", file)], &arguments, b"trusted\n");
        assert_eq!((ended.code, ended.stdout()), (0, "trusted\n"), "{}", ended.stderr);
    }
    for (file, told) in [(&other, "--ca FILE"), (&missing, "SSL_CERT_FILE: ")] {
        let ended = run_in(&[("SSL_CERT_FILE", file)], &["connect", &url], b"");
        assert_eq!(ended.code, 2);
        assert!(ended.stderr.contains(told), "{}", ended.stderr);
    }
}

/// A certificate authority of our own.
struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    /// Its own certificate, one that it issued for 127.0.0.1, and the key of that.
    fn files(&self, name: &str, adjust: impl FnOnce(&mut CertificateParams)) -> (String, String, String) {
        let mut params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
        adjust(&mut params);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        let file = |part: &str, pem: &str| file(&format!("{name}-{part}.pem"), pem).display().to_string();
        (
            file("ca", &self.0.pem()),
            file("cert", &certificate.pem()),
            file("key", &key.serialize_pem()),
        )
    }
}

#[test]
fn timeout_is_the_deadline_for_all_of_it() {
    // The system accepts; nobody answers.
    let (address, _listener) = listen();
    for scheme in ["ws", "wss"] {
        let url = format!("{scheme}://{address}/");
        let ended = run(&["connect", &url, "--timeout", "0.05"], b"");
        assert_eq!((ended.code, ended.stdout()), (2, ""));
        assert!(ended.stderr.contains("--timeout SECONDS"), "{}", ended.stderr);
    }
}

#[test]
fn ping_is_sent_when_nothing_comes() {
    let (address, listener) = listen();
    let server = thread::spawn(move || {
        let mut tcp = handshake(&listener);
        let mut header = [0; 2];
        tcp.read_exact(&mut header).unwrap();
        header
    });
    let program = Running::start(&["connect", &format!("ws://{address}/"), "--ping", "0.05"]);
    // RFC 6455 §5.5.2: FIN and opcode 9, masked.
    let header = server.join().unwrap();
    assert_eq!((header[0], header[1] & 0x80), (0x89, 0x80));
    assert_eq!(program.end().code, 1);
}

#[test]
fn latency_is_told_again_and_again() {
    let server = Server::start("echo", &[]);
    let mut program = Running::start(&["connect", &server.url("/"), "--latency", "--ping", "0.02"]);
    for _ in 0..3 {
        let talk = program.talk_until("latency ");
        let number = talk.lines().last().unwrap().strip_prefix("sockeye: latency ").unwrap();
        let milliseconds: f64 = number.strip_suffix(" ms").unwrap().parse().unwrap();
        assert!(milliseconds > 0.0, "{talk}");
    }
    let ended = program.end();
    assert_eq!((ended.code, ended.stdout()), (0, ""), "{}", ended.stderr);
}
