//! What is typed wrong: one sentence on stderr, nothing on stdout, exit code 2.
#![forbid(unsafe_code)]

mod support;

use support::run;

/// A server that nobody asks, since something else is wrong.
const URL: &str = "ws://localhost/";

/// Runs into a usage error, and gives the sentence.
fn wrong(arguments: &[&str]) -> String {
    let ended = run(arguments, b"");
    assert_eq!(ended.code, 2, "{arguments:?}: {ended:?}");
    assert_eq!(ended.stdout(), "");
    assert_eq!(ended.stderr.lines().count(), 1, "{}", ended.stderr);
    ended.stderr
}

#[test]
fn a_wrong_value_is_told_with_what_would_be_right() {
    let cases: &[(&[&str], &[&str])] = &[
        (&["echo", "--max-message", "12x"], &["'12x'", "--max-message", "16MiB"]),
        (&["echo", "--max-message", "0"], &["at least 1"]),
        (&["echo", "--listen", "9001"], &["'9001'", "127.0.0.1:9001"]),
        (&["echo", "--threads", "0"], &["from 1 to"]),
        (&["echo", "--subprotocol", "a b"], &["--subprotocol", "token"]),
        (&["serve", "--origin", "example.com"], &["'example.com'", "https://"]),
        (&["connect", "http://localhost/"], &["http://localhost/", "ws://"]),
        (
            &["connect", "ws://localhost/", "-H", "nonsense"],
            &["--header", "colon"],
        ),
        (&["echo", "--max-message", "1T"], &["'1T'", "--max-message", "16MiB"]),
        (&["connect", URL, "--max-message=-1"], &["'-1'", "--max-message"]),
        (&["connect", URL, "--timeout", "0"], &["'0'", "--timeout", "such as 10"]),
        (&["echo", "--timeout", "ten"], &["'ten'", "--timeout", "such as 10"]),
        (&["connect", "--ping", "1s", URL], &["'1s'", "--ping", "such as 20"]),
        (&["serve", "--ping", "often"], &["'often'", "--ping", "such as 20"]),
        (
            &["connect", URL, "--latency", "--ping", "0"],
            &["--latency", "--ping 5"],
        ),
        (&["connect", URL, "--follow", "11"], &["'11'", "--follow", "0..=10"]),
        (&["connect", "--follow", "far", URL], &["'far'", "--follow"]),
        (
            &["connect", URL, "--origin", "a\r\nb"],
            &["--origin", "control character"],
        ),
        (&["echo", "--origin", "example.com"], &["'example.com'", "https://"]),
        (&["echo", "-H", "nonsense"], &["--header", "colon"]),
        (&["serve", "-H", "Connection: close"], &["--header", "handshake"]),
        (&["echo", "--max-connections", "0"], &["'0'", "--max-connections"]),
        (
            &["serve", "--max-per-address", "many"],
            &["'many'", "--max-per-address"],
        ),
        (&["connect", URL, "--proxy", "ftp://localhost"], &["--proxy", "socks5h"]),
        (
            &["connect", URL, "--proxy", "http://localhost/path"],
            &["--proxy", "path"],
        ),
        (&["connect", URL, "--user", "alice"], &["--user", "colon"]),
        (&["connect", URL, "--bearer", "a b"], &["--bearer", "character"]),
        (&["echo", "--client-ca", "ca.pem"], &["--client-ca", "--cert"]),
    ];
    for (arguments, parts) in cases {
        let sentence = wrong(arguments);
        for part in *parts {
            assert!(sentence.contains(part), "{sentence}");
        }
    }
}

#[test]
fn unknown_and_contradicting_flags_are_told() {
    assert!(wrong(&["ech"]).contains("'echo'"));
    assert!(wrong(&["echo", "--compres"]).contains("'--compress'"));
    assert!(wrong(&["echo", "--tls", "cert.pem"]).contains("2 values"));
    assert!(wrong(&["echo", "--tls", "cert.pem", "key.pem", "--tls-self-signed"]).contains("--tls-self-signed"));
    assert!(wrong(&["connect"]).contains("<URL>"));
    assert!(wrong(&["connect", "wss://localhost/", "--insecure", "--ca", "ca.pem"]).contains("--ca"));
    assert!(wrong(&["connect", "ws://localhost/", "--subprotocol", ""]).contains("--subprotocol"));
    assert!(wrong(&["connect", "ws://localhost/", "-H", "Host: other"]).contains("--header"));
    for command in [&["connect", "wss://localhost/"][..], &["echo"], &["serve"]] {
        assert!(wrong(&[command, &["--cert", "cert.pem"]].concat()).contains("--key"));
        assert!(wrong(&[command, &["--key", "key.pem"]].concat()).contains("--cert"));
    }
    for pair in [
        &["--proxy=http://localhost", "--no-proxy"][..],
        &["--user=a:b", "--bearer=c"],
        &["--latency", "--reconnect"],
        &["--origin=https://a.example", "--header=Origin: https://b.example"],
        &["--user=a:b", "--header=Authorization: Basic Yzpk"],
    ] {
        let sentence = wrong(&[&["connect", "ws://localhost/"], pair].concat());
        for flag in pair {
            let (flag, _) = flag.split_once('=').unwrap_or((flag, ""));
            assert!(sentence.contains(flag), "{sentence}");
        }
    }
}

#[test]
fn a_proxy_of_the_environment_that_is_none_is_told_by_its_variable() {
    for variable in ["HTTP_PROXY", "https_proxy", "ALL_PROXY"] {
        let ended = support::run_in(
            &[(variable, "ftp://alice:s3cret@localhost")],
            &["connect", "ws://localhost/"],
            b"",
        );
        assert_eq!((ended.code, ended.stdout()), (2, ""));
        assert_eq!(ended.stderr.lines().count(), 1);
        assert!(ended.stderr.contains(variable) && ended.stderr.contains("--no-proxy"));
        assert!(!ended.stderr.contains("s3cret"), "{}", ended.stderr);
    }
}

#[test]
fn passwords_are_in_no_sentence() {
    for arguments in [
        &["connect", "http://alice:s3cret@localhost/"][..],
        &["connect", "ws://alice:s3cret@localhost:99999/"],
        &["connect", "ws://alice:s3cret\n@localhost/"],
        &["connect", "ws://localhost/", "alice:s3cret"],
        &["connect", "ws://localhost/", "--proxy", "ftp://alice:s3cret@localhost"],
        &["connect", "ws://localhost/", "--user", "s3cret"],
        &["connect", "ws://localhost/", "--user", "alice:s3cret\n"],
        &["connect", "ws://localhost/", "--bearer", "s3cret token"],
        &["connect", "ws://localhost/", "--header", "Authorization Basic s3cret"],
        &["connect", "ws://localhost/", "--header", "Authorization: s3cret\r"],
        &["echo", "--header", "s3cret"],
    ] {
        let sentence = wrong(arguments);
        assert!(!sentence.contains("s3cret"), "{sentence}");
    }
}

#[test]
fn files_that_cannot_be_used_are_told_by_name() {
    assert!(wrong(&["connect", "wss://localhost/", "--ca", "no/such/file"]).contains("no/such/file"));
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
    assert!(wrong(&["connect", "wss://localhost/", "--ca", manifest]).contains("no certificate"));
    assert!(wrong(&["echo", "--tls", manifest, manifest]).contains("--tls"));
    for command in [&["connect", "wss://localhost/"][..], &["echo"], &["serve"]] {
        let missing = [command, &["--cert", "no/such/cert", "--key", "no/such/key"]].concat();
        assert!(wrong(&missing).contains("no/such/cert"));
        let sentence = wrong(&[command, &["--cert", manifest, "--key", manifest]].concat());
        assert!(sentence.contains("--cert and --key"), "{sentence}");
    }
    assert!(wrong(&["echo", "--tls-self-signed", "--client-ca", "no/such/file"]).contains("no/such/file"));
}

#[test]
fn an_address_that_is_taken_is_told() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    assert!(wrong(&["echo", "--listen", &address]).contains(&address));
}

#[test]
fn help_and_version_are_data_and_success() {
    for command in ["echo", "connect", "serve"] {
        let help = run(&[command, "--help"], b"");
        assert_eq!((help.code, help.stderr.as_str()), (0, ""));
        assert!(help.stdout().contains(&format!("Usage: sockeye {command}")));
    }
    let version = run(&["--version"], b"");
    assert_eq!(version.stdout(), concat!("sockeye ", env!("CARGO_PKG_VERSION"), "\n"));
    assert_eq!(version.code, 0);
    let nothing = run(&[], b"");
    assert_eq!((nothing.code, nothing.stdout()), (2, ""));
    assert!(nothing.stderr.contains("Usage: sockeye"));
}
