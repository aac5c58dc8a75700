//! Blocking ends against each other: what is sent arrives, whoever sends it.

use sockeye::blocking::{self, Untimed};
use sockeye::{CloseCode, Compress, Event, Message, Prepared, ServerOptions};

use crate::common::{echo, pair, pair_with};

/// Messages of all sizes at which something changes, both kinds.
pub(crate) fn messages() -> Vec<Message> {
    let mut messages: Vec<Message> = vec!["".into(), "naïve".into(), Vec::new().into()];
    for length in [1, 125, 126, 2048, 2049, 0xffff, 0x1_0000, 1 << 20] {
        messages.push("x".repeat(length).into());
        messages.push((0..length).map(|n| (n * 31 + n / 251) as u8).collect::<Vec<_>>().into());
    }
    messages
}

pub(crate) fn with_deflate(client: blocking::ClientBuilder) -> blocking::ClientBuilder {
    #[cfg(feature = "deflate")]
    let client = client.deflate(sockeye::DeflateOptions::client());
    client
}

pub(crate) fn server_options() -> ServerOptions {
    let options = ServerOptions::builder().subprotocol("chat");
    #[cfg(feature = "deflate")]
    let options = options.deflate(sockeye::DeflateOptions::server());
    options.build().unwrap()
}

#[test]
fn both_ends_blocking() {
    for compressed in [false, true] {
        let client = blocking::Client::builder();
        let (client, options) = match compressed {
            true => (with_deflate(client), server_options()),
            false => (client, ServerOptions::default()),
        };
        let (mut near, mut far) = pair_with(client, &options);
        let echoing = std::thread::spawn(move || echo(&mut far).unwrap());
        for message in messages() {
            near.send(message.clone()).unwrap();
            assert_eq!(near.recv().unwrap(), Some(message));
        }
        near.close(CloseCode::NORMAL, "").unwrap();
        echoing.join().unwrap();
    }
}

/// The server closes, and the client is told.
#[test]
fn the_server_closes() {
    let (mut near, mut far) = pair();
    let closing = std::thread::spawn(move || far.close(CloseCode::GOING_AWAY, "restart"));
    assert_eq!(near.recv().unwrap(), None);
    assert_eq!(near.close_received(), Some(CloseCode::GOING_AWAY));
    assert_eq!(
        near.send("late").unwrap_err().to_string(),
        sockeye::SendError::Closed.to_string()
    );
    closing.join().unwrap().unwrap();
}

#[test]
fn all_that_can_be_sent() {
    let (mut near, mut far) = pair();
    let echoing = std::thread::spawn(move || {
        let mut events = Vec::new();
        while let Some(event) = far.next_event().unwrap() {
            events.push(event);
        }
        events
    });
    near.send_with("plain", Compress::Never).unwrap();
    near.send_fragment("frag", false).unwrap();
    near.ping(b"between").unwrap();
    near.send_fragment("ments", true).unwrap();
    near.send_prepared(&Prepared::new("prepared")).unwrap();
    near.pong(b"heartbeat").unwrap();
    near.feed("one").unwrap();
    near.feed("write").unwrap();
    assert!(near.buffered_amount() > 0);
    near.flush().unwrap();
    assert_eq!(near.buffered_amount(), 0);
    assert!(near.ping(&[0; 126]).is_err());
    let Some(Event::Pong(pong)) = near.next_event().unwrap() else {
        panic!("no pong");
    };
    assert_eq!(pong, b"between".as_slice());
    near.close(CloseCode::NO_STATUS, "").unwrap();

    let text = |text: &str| Event::Text(text.into());
    let expected = [
        text("plain"),
        Event::Ping(b"between".as_slice().into()),
        text("fragments"),
        text("prepared"),
        Event::Pong(b"heartbeat".as_slice().into()),
        text("one"),
        text("write"),
        Event::Close(None),
    ];
    assert_eq!(echoing.join().unwrap(), expected);
}

/// What came with the request belongs to the connection.
#[test]
fn a_message_in_the_same_write_as_the_request() {
    use crate::common::{REQUEST, TEXT, attack, masked};
    let (ws, _peer) = attack(ServerOptions::default(), &[REQUEST, &masked(TEXT, b"eager")].concat());
    assert_eq!(ws.unwrap().recv().unwrap(), Some("eager".into()));
}

/// Anything that reads and writes will do.
#[cfg(unix)]
#[test]
fn transports_without_timeouts() {
    let (near, far) = std::os::unix::net::UnixStream::pair().unwrap();
    let serving = std::thread::spawn(move || {
        let mut ws = blocking::accept(Untimed(far), &ServerOptions::default()).unwrap();
        echo(&mut ws).unwrap();
    });
    let client = blocking::Client::builder().build().unwrap();
    let mut ws = client.connect_over(Box::new(near), "ws://localhost/").unwrap();
    ws.send("swim").unwrap();
    assert_eq!(ws.recv().unwrap(), Some("swim".into()));
    ws.close(CloseCode::NORMAL, "").unwrap();
    serving.join().unwrap();
}
