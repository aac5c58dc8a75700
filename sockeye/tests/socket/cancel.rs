//! R1: futures that are dropped at every await point, and D8.

use std::sync::Arc;

use sockeye::{CloseCode, Error, Event, Message, Receiver, SendError, Sender, WebSocket, accept};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream};

use crate::common::{Hesitant, REQUEST, at_most, options, pair_over};

type Socket = WebSocket<Hesitant<DuplexStream>>;

/// More polls than any operation of the conversation takes with the larger step.
const MOST_POLLS: usize = 12;

fn conversation() -> Vec<Message> {
    vec![
        "one".into(),
        "".into(),
        "compressible ".repeat(20).into(),
        vec![0xff; 40].into(),
        "the end".into(),
    ]
}

async fn hesitant_pair(deflate: bool) -> (Socket, Socket) {
    let (near, far) = tokio::io::duplex(48);
    pair_over(Hesitant::new(near, 7), Hesitant::new(far, 5), deflate).await
}

/// Calls `recv` as often as it takes, each time for `polls` polls.
async fn recv(ws: &mut Socket, polls: usize) -> Result<Option<Message>, Error> {
    loop {
        assert!(at_most(0, ws.recv()).await.is_none());
        if let Some(received) = at_most(polls, ws.recv()).await {
            return received;
        }
    }
}

/// The call queues; whether its future or what follows writes is one.
async fn send(ws: &mut Socket, message: &Message, polls: usize) {
    if let Some(sent) = at_most(polls, ws.send(message.clone())).await {
        sent.unwrap();
    }
}

async fn client(mut ws: Socket, polls: usize) {
    for message in conversation() {
        send(&mut ws, &message, polls).await;
        if let Some(sent) = at_most(polls, ws.ping(b"ping")).await {
            sent.unwrap();
        }
        assert_eq!(recv(&mut ws, polls).await.unwrap(), Some(message));
    }
    while at_most(polls, ws.close(CloseCode::new(4001), "done"))
        .await
        .transpose()
        .unwrap()
        .is_none()
    {}
    assert_eq!(ws.close_received(), Some(CloseCode::new(4001)));
    assert_eq!(recv(&mut ws, polls).await.unwrap(), None);
}

async fn echo(mut ws: Socket, polls: usize) {
    let mut received = Vec::new();
    while let Some(message) = recv(&mut ws, polls).await.unwrap() {
        send(&mut ws, &message, polls).await;
        received.push(message);
    }
    assert_eq!(received, conversation());
    assert_eq!(ws.close_received(), Some(CloseCode::new(4001)));
}

async fn whole(deflate: bool) {
    for polls in 1..=MOST_POLLS {
        let (near, far) = hesitant_pair(deflate).await;
        let echo = tokio::spawn(echo(far, polls));
        client(near, polls).await;
        echo.await.unwrap();
    }
}

#[tokio::test]
async fn r1_cancelled_everywhere_on_one_thread() {
    whole(false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r1_cancelled_everywhere_on_two_threads() {
    whole(false).await;
}

#[cfg(feature = "deflate")]
#[tokio::test]
async fn r1_d8_cancelled_everywhere_with_deflate() {
    whole(true).await;
}

#[cfg(feature = "deflate")]
#[tokio::test]
async fn d8_the_stream_decodes_after_a_dropped_send() {
    let (mut near, mut far) = hesitant_pair(true).await;
    let first = Message::from("the window of the compressor ".repeat(30));
    assert!(at_most(1, near.send(first.clone())).await.is_none());
    assert!(at_most(3, near.send(first.clone())).await.is_none());
    let sending = async {
        near.send(first.clone()).await.unwrap();
        near.close(CloseCode::NORMAL, "").await.unwrap();
    };
    let receiving = async {
        let mut count = 0;
        while let Some(message) = far.recv().await.unwrap() {
            assert_eq!(message, first);
            count += 1;
        }
        assert_eq!(count, 3);
    };
    tokio::join!(sending, receiving);
}

type Halves = (Sender<Hesitant<DuplexStream>>, Receiver<Hesitant<DuplexStream>>);

async fn talk((sender, mut receiver): Halves, polls: usize) {
    let sender = Arc::new(sender);
    let queue = sender.clone();
    let sending = tokio::spawn(async move {
        for message in conversation() {
            assert!(at_most(0, queue.send(message.clone())).await.is_none());
            if let Some(sent) = at_most(polls, queue.send(message)).await {
                sent.unwrap();
            }
        }
        while at_most(polls, queue.flush()).await.transpose().unwrap().is_none() {}
    });
    for message in conversation() {
        assert_eq!(recv_half(&mut receiver, polls).await, Some(message));
    }
    sending.await.unwrap();
    // Of the two ends that close now, the second may find that it is closed.
    let closed = at_most(polls, sender.close(CloseCode::NORMAL, "")).await;
    assert!(matches!(
        closed,
        None | Some(Ok(()) | Err(Error::Send(SendError::Closed)))
    ));
    assert_eq!(recv_half(&mut receiver, polls).await, None);
}

async fn recv_half(receiver: &mut Receiver<Hesitant<DuplexStream>>, polls: usize) -> Option<Message> {
    loop {
        assert!(at_most(0, receiver.recv()).await.is_none());
        if let Some(received) = at_most(polls, receiver.recv()).await {
            return received.unwrap();
        }
    }
}

async fn halves(deflate: bool) {
    for polls in 1..=MOST_POLLS {
        let (near, far) = hesitant_pair(deflate).await;
        let far = tokio::spawn(talk(far.split(), polls));
        talk(near.split(), polls).await;
        far.await.unwrap();
    }
}

#[tokio::test]
async fn r1_halves_cancelled_everywhere_on_one_thread() {
    halves(false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r1_halves_cancelled_everywhere_on_two_threads() {
    halves(cfg!(feature = "deflate")).await;
}

#[tokio::test]
async fn r1_an_event_is_not_lost_between_recv_and_next_event() {
    let (mut near, mut far) = hesitant_pair(false).await;
    let pinging = async {
        near.ping(b"are you there").await.unwrap();
        while at_most(2, near.next_event()).await.is_none() {
            near.flush().await.unwrap();
        }
        near.close(CloseCode::NO_STATUS, "").await.unwrap();
    };
    let answering = async {
        let mut events = Vec::new();
        loop {
            match at_most(3, far.next_event()).await.transpose().unwrap() {
                None => {}
                Some(None) => break,
                Some(Some(event)) => events.push(event),
            }
        }
        events
    };
    let ((), events) = tokio::join!(pinging, answering);
    assert_eq!(events, [Event::Ping("are you there".into()), Event::Close(None)]);
}

/// An opening handshake that is dropped after any number of polls drops its transport, so the other end finds out.
#[tokio::test(start_paused = true)]
async fn r1_connect_and_accept_dropped_anywhere_end_the_transport() {
    async fn dropped<T>(
        polls: usize,
        opening: impl Future<Output = T>,
        mut other: impl AsyncRead + AsyncWrite + Unpin,
    ) -> bool {
        let done = at_most(polls, opening).await.is_some();
        let mut rest = Vec::new();
        // `done` dropped the connection with the output: the end comes in either case.
        other.read_to_end(&mut rest).await.unwrap();
        done
    }

    let (client, server) = options(false);
    let mut polls = 0;
    loop {
        let (near, mut far) = tokio::io::duplex(4096);
        let done = if polls % 2 == 0 {
            far.write_all(REQUEST).await.unwrap();
            dropped(polls, accept(Hesitant::new(near, 64), &server), far).await
        } else {
            dropped(
                polls,
                client.connect_over(Hesitant::new(near, 64), "ws://localhost/"),
                far,
            )
            .await
        };
        polls += 1;
        // A client whose server never answers is not done; the accepting end is, some day.
        if done {
            break;
        }
    }
    assert!(polls > 5);
}
