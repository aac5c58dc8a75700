//! Typed messages over connections: values arrive, what is none is told, and the subprotocol chooses the codec.

use std::error::Error as _;

use serde::{Deserialize, Serialize};
use sockeye::codec::{
    AnyCodec, CodecError, Codecs, Decode, Encode, Json, JsonError, MessagePack, MessagePackError, Typed,
};
use sockeye::{Client, CloseCode, Message, ServerOptions, ServerOptionsBuilder, WebSocket, accept};
use tokio::io::DuplexStream;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Request {
    Add { a: i64, b: i64 },
    Echo { text: String },
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Reply {
    number: Option<i64>,
    text: Option<String>,
}

/// What a server answers.
fn reply(request: Request) -> Reply {
    match request {
        Request::Add { a, b } => Reply {
            number: a.checked_add(b),
            text: None,
        },
        Request::Echo { text } => Reply {
            number: None,
            text: Some(text),
        },
    }
}

async fn pair(subprotocols: &[&str], options: &ServerOptions) -> (WebSocket<DuplexStream>, WebSocket<DuplexStream>) {
    let (near, far) = tokio::io::duplex(4096);
    let client = subprotocols
        .iter()
        .fold(Client::builder(), |client, name| client.subprotocol(name));
    let client = client.build().unwrap();
    let (near, far) = tokio::join!(client.connect_over(near, "ws://localhost/"), accept(far, options));
    (near.unwrap(), far.unwrap())
}

/// Serves requests until the end; the two types differ by direction.
async fn serve<C>(ws: WebSocket<DuplexStream>, codec: C)
where
    C: Decode<Request> + Encode<Reply>,
{
    let mut ws: Typed<_, _, Request, Reply> = Typed::new(ws, codec);
    while let Some(request) = ws.recv().await.unwrap() {
        ws.send(&reply(request)).await.unwrap();
    }
}

async fn ask<C>(ws: WebSocket<DuplexStream>, codec: C)
where
    C: Decode<Reply> + Encode<Request>,
{
    let mut ws: Typed<_, _, Reply, Request> = Typed::new(ws, codec);
    ws.send(&Request::Add { a: 2, b: -5 }).await.unwrap();
    assert_eq!(ws.recv().await.unwrap().unwrap().number, Some(-3));
    let text = "naïve\0".repeat(1000);
    ws.send(&Request::Echo { text: text.clone() }).await.unwrap();
    assert_eq!(ws.recv().await.unwrap().unwrap().text, Some(text));
    ws.close(CloseCode::NORMAL, "").await.unwrap();
    assert_eq!(ws.recv().await.unwrap(), None);
}

#[tokio::test]
async fn json_and_message_pack() {
    let (near, far) = pair(&[], &ServerOptions::default()).await;
    tokio::join!(ask(near, Json), serve(far, Json));
    for (client, server) in [
        (MessagePack::new(), MessagePack::new()),
        (MessagePack::compact(), MessagePack::new()),
        (MessagePack::new(), MessagePack::compact()),
    ] {
        let (near, far) = pair(&[], &ServerOptions::default()).await;
        tokio::join!(ask(near, client), serve(far, server));
    }
}

/// JSON goes as text and MessagePack as bytes, structs as maps unless asked otherwise.
#[test]
fn forms() {
    let value = Reply {
        number: Some(7),
        text: None,
    };
    assert_eq!(
        Json.encode(&value).unwrap(),
        Message::from(r#"{"number":7,"text":null}"#)
    );
    let named = MessagePack::new().encode(&value).unwrap();
    assert_eq!(named, Message::from(b"\x82\xa6number\x07\xa4text\xc0".to_vec()));
    assert_eq!(
        MessagePack::compact().encode(&value).unwrap(),
        Message::from(b"\x92\x07\xc0".to_vec())
    );
    assert_eq!(Json.encode("a str").unwrap(), Message::from(r#""a str""#));
}

/// What is no value is told, and the next one is received.
#[tokio::test]
async fn a_message_that_is_no_value_is_not_the_end() {
    let (mut near, far) = pair(&[], &ServerOptions::default()).await;
    let mut far: Typed<_, _, Request> = Typed::new(far, Json);
    for message in [
        Message::from("{"),
        Message::from(r#"{"type":"multiply"}"#),
        Message::from(b"{}".as_slice()),
        Message::from(r#"{"type":"add","a":1,"b":2} trailing"#),
        Message::from("[".repeat(1000)),
        Message::from(r#"{"type":"add","a":1,"b":2}"#),
    ] {
        near.send(message).await.unwrap();
    }
    for n in 0..5 {
        let error = far.recv().await.unwrap_err();
        match error {
            CodecError::Decode(JsonError::Binary) if n == 2 => {}
            CodecError::Decode(JsonError::Json(_)) if n != 2 => {}
            error => panic!("message {n}: {error}"),
        }
    }
    assert_eq!(far.recv().await.unwrap(), Some(Request::Add { a: 1, b: 2 }));
}

/// Lengths that are only claimed, nesting without end, bytes left over: errors, without the memory that was claimed.
#[test]
fn hostile_message_pack() {
    #[derive(Debug, Deserialize)]
    #[serde(transparent)]
    struct Nested(#[expect(dead_code, reason = "only its depth counts")] Vec<Nested>);

    let decode = |bytes: &[u8]| Decode::<Vec<u64>>::decode(&MessagePack::new(), Message::from(bytes));
    assert_eq!(decode(b"\x92\x01\x02").unwrap(), [1, 2]);
    assert!(matches!(
        decode(b"\xdd\xff\xff\xff\xff"),
        Err(MessagePackError::Decode(_))
    ));
    assert!(matches!(
        decode(b"\xdd\xff\xff\xff\xff\x01"),
        Err(MessagePackError::Decode(_))
    ));
    assert!(matches!(decode(b"\xc1"), Err(MessagePackError::Decode(_))));
    assert!(matches!(decode(b""), Err(MessagePackError::Decode(_))));
    assert!(matches!(decode(b"\x90\x90"), Err(MessagePackError::Trailing)));
    let text = Decode::<Vec<u64>>::decode(&MessagePack::new(), Message::from("\u{10}"));
    assert!(matches!(text, Err(MessagePackError::Text)));
    let bytes = Decode::<String>::decode(&MessagePack::new(), Message::from(b"\xdb\xff\xff\xff\xff".as_slice()));
    assert!(matches!(bytes, Err(MessagePackError::Decode(_))));

    let nested = |depth| {
        let mut bytes = vec![0x91; depth];
        bytes.push(0x90);
        Decode::<Nested>::decode(&MessagePack::new(), Message::from(bytes))
    };
    nested(50).unwrap();
    assert!(matches!(nested(100_000), Err(MessagePackError::Decode(_))));
}

/// A value that has no form in the format: nothing is sent, and the connection is as it was.
#[tokio::test]
async fn a_value_that_cannot_be_encoded() {
    use std::collections::BTreeMap;
    let (near, mut far) = pair(&[], &ServerOptions::default()).await;
    let mut near: Typed<_, _, BTreeMap<Vec<u8>, u8>> = Typed::new(near, Json);
    // A key of an object is a string.
    let error = near.send(&BTreeMap::from([(vec![1], 1)])).await.unwrap_err();
    assert!(matches!(error, CodecError::Encode(_)), "{error}");
    assert!(error.source().is_some());
    near.send(&BTreeMap::new()).await.unwrap();
    assert_eq!(far.recv().await.unwrap(), Some("{}".into()));
}

fn codecs() -> Codecs<Request, Reply> {
    Codecs::new()
        .with("v1.json", Json)
        .with("v1.msgpack", MessagePack::new())
}

#[tokio::test]
async fn the_subprotocol_chooses_the_codec() {
    let codecs = codecs();
    let options = codecs
        .subprotocols()
        .fold(ServerOptions::builder(), ServerOptionsBuilder::subprotocol);
    let options = options.build().unwrap();
    for (offered, kind) in [("v1.json", "json"), ("v1.msgpack", "msgpack")] {
        let (near, far) = pair(&["unknown", offered], &options).await;
        assert_eq!(far.subprotocol(), Some(offered));
        let codec = codecs.choose(far.subprotocol()).unwrap();
        let client = async {
            match kind {
                "json" => ask(near, Json).await,
                _ => ask(near, MessagePack::new()).await,
            }
        };
        tokio::join!(client, serve(far, codec));
    }
    assert!(codecs.choose(Some("unknown")).is_none());
    assert!(codecs.choose(None).is_none());
    let codecs = codecs.with_fallback(Json);
    assert!(codecs.choose(None).is_some());
    assert!(codecs.choose(Some("unknown")).is_none());
}

/// The error of a codec that was chosen at run time can be told apart still.
#[test]
fn errors_of_any_codec() {
    let codec = AnyCodec::<Request>::new(Json);
    let error = codec.decode(Message::from(b"bytes".as_slice())).unwrap_err();
    let source = error.source().unwrap().downcast_ref::<JsonError>();
    assert!(matches!(source, Some(JsonError::Binary)));
}

#[tokio::test]
async fn halves() {
    let (near, far) = pair(&[], &ServerOptions::default()).await;
    let (sender, mut receiver) = Typed::<_, _, u64>::new(near, Json).split();
    let echoing = tokio::spawn(async move {
        let mut far = Typed::<_, _, u64>::new(far, Json);
        while let Some(n) = far.recv().await.unwrap() {
            far.send(&(n * n)).await.unwrap();
        }
    });
    let sending = tokio::spawn(async move {
        for n in 0..100 {
            sender.send(&n).await.unwrap();
        }
        let (sender, _) = sender.into_parts();
        sender.close(CloseCode::NORMAL, "").await.unwrap();
    });
    for n in 0..100 {
        assert_eq!(receiver.recv().await.unwrap(), Some(n * n));
    }
    assert_eq!(receiver.recv().await.unwrap(), None);
    sending.await.unwrap();
    echoing.await.unwrap();
}

#[cfg(feature = "blocking")]
#[test]
fn blocking() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("ws://{}/", listener.local_addr().unwrap());
    let serving = std::thread::spawn(move || {
        let tcp = listener.accept().unwrap().0;
        let ws = sockeye::blocking::accept(tcp, &ServerOptions::default()).unwrap();
        let mut ws: Typed<_, _, Request, Reply> = Typed::new(ws, Json);
        while let Some(request) = ws.recv().unwrap() {
            ws.send(&reply(request)).unwrap();
        }
    });
    let ws = sockeye::blocking::connect(&url).unwrap();
    let mut ws: Typed<_, _, Reply, Request> = Typed::new(ws, Json);
    ws.send(&Request::Add { a: 1, b: 2 }).unwrap();
    assert_eq!(ws.recv().unwrap().unwrap().number, Some(3));
    let (sender, receiver) = ws.into_parts().0.split().unwrap();
    let sender: Typed<_, _, Reply, Request> = Typed::new(sender, Json);
    let mut receiver: Typed<_, _, Reply, Request> = Typed::new(receiver, Json);
    sender.send(&Request::Add { a: 3, b: 4 }).unwrap();
    assert_eq!(receiver.recv().unwrap().unwrap().number, Some(7));
    let closing = std::thread::spawn(move || sender.get_ref().close(CloseCode::NORMAL, ""));
    assert_eq!(receiver.recv().unwrap(), None);
    closing.join().unwrap().unwrap();
    serving.join().unwrap();
}
