//! `sockeye echo --engine`: what it does beyond what every echo does.
#![forbid(unsafe_code)]
#![cfg(unix)]

mod support;

use std::io::{Read, Write};
use std::net::TcpListener;

use sockeye::{Client, Message};
use support::{Server, file, head, run, upgrade};

/// A message by the client's hand, with masking key 0.
fn frame(payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x82, 0x80 | 126];
    frame.extend((payload.len() as u16).to_be_bytes());
    frame.extend([0; 4]);
    frame.extend(payload);
    frame
}

#[test]
fn nothing_is_lost_on_a_client_that_reads_late() {
    const MESSAGES: usize = 4000;
    let server = Server::start("echo --engine", &["--threads", "1"]);
    let mut tcp = server.tcp();
    tcp.write_all(upgrade("/", "").as_bytes()).unwrap();
    assert!(head(&mut tcp).starts_with("HTTP/1.1 101 "));
    // 64 MB, far more than the buffers of the system hold: the server has to stop reading.
    let payload = vec![7; 16 * 1024];
    let mut sender = tcp.try_clone().unwrap();
    let sent = frame(&payload);
    let sending = std::thread::spawn(move || (0..MESSAGES).for_each(|_| sender.write_all(&sent).unwrap()));
    // The writer above blocks until the first of these is read.
    let mut header = [0; 4];
    for number in 0..MESSAGES {
        tcp.read_exact(&mut header).unwrap();
        assert_eq!(header, [0x82, 126, 0x40, 0x00], "message {number}");
        let mut echoed = vec![0; payload.len()];
        tcp.read_exact(&mut echoed).unwrap();
        assert!(echoed == payload, "message {number}");
    }
    sending.join().unwrap();
}

#[tokio::test]
async fn a_large_message_passes_under_tls() {
    let certified = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let certificate = file("engine-certificate.pem", &certified.cert.pem());
    let key = file("engine-key.pem", &certified.signing_key.serialize_pem());
    let flags = ["--cert", certificate.to_str().unwrap(), "--key", key.to_str().unwrap()];
    let server = Server::start(
        "echo --engine",
        &[&flags[..], &["--max-message", "16M", "--threads", "2"]].concat(),
    );
    let client = Client::builder().trust_pem(certified.cert.pem().as_bytes());
    let client = client.max_message_size(16 << 20).build().unwrap();
    let mut ws = client.connect(&server.url("/")).await.unwrap();
    for length in [1, 65_535, 65_536, 300_000, 8 << 20] {
        let message = Message::from(vec![3; length]);
        ws.send(message.clone()).await.unwrap();
        assert_eq!(ws.recv().await.unwrap(), Some(message), "{length}");
    }
}

#[test]
fn an_address_that_is_taken_is_told_also_if_by_another_engine() {
    let server = Server::start("echo --engine", &[]);
    let bound = TcpListener::bind("127.0.0.1:0").unwrap();
    for address in [server.address.clone(), bound.local_addr().unwrap().to_string()] {
        let ended = run(&["echo", "--engine", "--listen", &address], b"");
        assert_eq!((ended.code, ended.stdout()), (2, ""));
        let sentence = format!("sockeye: cannot listen on {address}: ");
        assert!(ended.stderr.starts_with(&sentence), "{}", ended.stderr);
        assert_eq!(ended.stderr.lines().count(), 1);
    }
}
