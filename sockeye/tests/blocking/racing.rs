//! L5: sends that race a close touch nothing that has come to belong to another connection: no buffer, no descriptor.

use std::thread::JoinHandle;

use sockeye::{CloseCode, ServerOptions};

use crate::common::{BINARY, CLOSE, PING, Raw, masked};

const LENGTH: usize = 1000;
/// Messages of one sender, if nobody closes before.
const FLOOD: usize = 200;

/// Each connection begins as soon as the one before it has ended on the wire, while its threads still run: it has the same
/// descriptors.
#[test]
fn l5_a_send_that_races_a_close() {
    let mut threads: Vec<JoinHandle<()>> = Vec::new();
    for tag in 0..40_u8 {
        let (peer, ws) = Raw::connect(&ServerOptions::default());
        let (sender, mut receiver) = ws.split().unwrap();
        let flooding = sender.clone();
        threads.push(std::thread::spawn(move || {
            for _ in 0..FLOOD {
                if flooding.send(vec![tag; LENGTH]).is_err() || flooding.ping(&[tag; 125]).is_err() {
                    break;
                }
            }
        }));
        threads.push(std::thread::spawn(move || {
            for _ in 0..tag % 16 {
                if sender.send(vec![tag; LENGTH]).is_err() {
                    break;
                }
            }
            let _ = sender.close(CloseCode::NORMAL, "");
        }));
        threads.push(std::thread::spawn(move || while receiver.recv().unwrap().is_some() {}));
        only_its_own(peer, tag);
    }
    for thread in threads {
        thread.join().unwrap();
    }
}

/// Reads to the end: whole frames of this connection, then a Close, then nothing.
fn only_its_own(mut peer: Raw, tag: u8) {
    loop {
        let (first, payload) = peer.frame().expect("the end without a Close");
        let length = match first {
            BINARY => LENGTH,
            PING => 125,
            CLOSE => break assert_eq!(payload, 1000_u16.to_be_bytes()),
            other => panic!("a frame that begins with {other:#x}"),
        };
        assert_eq!(payload.len(), length);
        assert!(payload.iter().all(|byte| *byte == tag), "bytes of another connection");
    }
    peer.send(&masked(CLOSE, &1000_u16.to_be_bytes()));
    assert_eq!(peer.frame(), None);
}
