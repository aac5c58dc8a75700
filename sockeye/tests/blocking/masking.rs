//! K1: the masking keys of a blocking client's frames, as they go over TCP.

use std::io::{BufReader, Write};

use sockeye::Prepared;
use sockeye::blocking;

use crate::common::{read_head, serve, upgraded};

#[path = "../support/keys.rs"]
mod keys;

use self::keys::FRAMES;

#[test]
fn k1_a_fresh_key_for_each_of_100_000_frames() {
    let (address, peer) = serve(|mut tcp| {
        let head = read_head(&mut tcp);
        tcp.write_all(&upgraded(&head)).unwrap();
        let mut io = BufReader::new(tcp);
        (0..FRAMES).map(|_| keys::read(&mut io).unwrap()).collect::<Vec<_>>()
    });
    let mut ws = blocking::connect(&format!("ws://{address}/")).unwrap();
    let prepared = Prepared::new("the same for all");
    for round in 0..FRAMES / 16 {
        // Payloads that stay the same, that change a little, and that are empty, in every way that there is to send.
        ws.feed("the same again").unwrap();
        ws.feed(round.to_string()).unwrap();
        ws.feed(vec![0; 4]).unwrap();
        ws.feed("").unwrap();
        ws.send_prepared(&prepared).unwrap();
        ws.ping(&round.to_le_bytes()).unwrap();
        ws.send_fragment("two fragments", false).unwrap();
        ws.send_fragment("", true).unwrap();
    }
    // The other half, by both threads of a connection that was split.
    let (sender, mut receiver) = ws.split().unwrap();
    for _ in 0..FRAMES / 2 {
        sender.send("the same again").unwrap();
    }
    keys::judge(&peer.join().unwrap());
    // The peer has read its share, and ended.
    assert!(receiver.recv().is_err());
}
