//! Any messages, both ways at once, over pipes of any size, come through whole and in order.

use proptest::prelude::*;
use sockeye::{CloseCode, Message};

use crate::common::{Hesitant, pair_over};

fn message() -> impl Strategy<Value = Message> {
    prop_oneof![
        ".{0,40}".prop_map(Message::from),
        prop::collection::vec(any::<u8>(), 0..400).prop_map(Message::from),
        (60_000_usize..70_000, any::<u8>()).prop_map(|(length, byte)| Message::from(vec![byte; length])),
    ]
}

fn messages() -> impl Strategy<Value = Vec<Message>> {
    prop::collection::vec(message(), 0..12)
}

/// Sends all, and receives until the other end has closed.
async fn talk<T>(ws: sockeye::WebSocket<T>, messages: Vec<Message>) -> Vec<Message>
where
    T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let (sender, mut receiver) = ws.split();
    let sending = async {
        for message in messages {
            sender.send(message).await.unwrap();
        }
        sender.ping(b"").await.unwrap();
    };
    let receiving = async {
        let mut received = Vec::new();
        while let Some(message) = receiver.recv().await.unwrap() {
            if message.as_text() == Some(LAST) {
                break;
            }
            received.push(message);
        }
        (received, receiver)
    };
    let sending = async {
        sending.await;
        sender.send(LAST).await.unwrap();
    };
    let ((), (received, mut receiver)) = tokio::join!(sending, receiving);
    // Both are done; whoever is second finds that the other has closed. A pipe may be shorter than a Close: both have to be
    // written while both are read.
    let (_, end) = tokio::join!(sender.close(CloseCode::NORMAL, ""), receiver.recv());
    assert_eq!(end.unwrap(), None);
    received
}

const LAST: &str = "this was the last message";

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_messages_both_ways_at_once(
        left in messages(),
        right in messages(),
        capacity in 1_usize..5000,
        step in 1_usize..64,
        deflate in any::<bool>(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (to_right, to_left) = runtime.block_on(async {
            let (near, far) = tokio::io::duplex(capacity);
            let (near, far) = pair_over(Hesitant::new(near, step), far, deflate).await;
            let far = tokio::spawn(talk(far, right.clone()));
            let at_left = talk(near, left.clone()).await;
            (far.await.unwrap(), at_left)
        });
        prop_assert_eq!(to_right, left);
        prop_assert_eq!(to_left, right);
    }
}
