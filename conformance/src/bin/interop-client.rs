//! Sockeye's client held against other people's servers, which echo: `interop-client [OPTION]... URL`.
//!
//! It prints one line a cell of the conformance table: `pass CELL` or `fail CELL: WHY`. A cell that is not negotiated has no
//! line, and a connection that breaks ends the list by `error WHY`.
//!
//! - `--authority FILE` trusts the certificates of a PEM file,
//! - `--compress` offers permessage-deflate,
//! - `--lines` asks only what a server can answer that takes and gives lines of text,
//! - `--stream` asks only for what one can answer that has no message boundaries.
#![forbid(unsafe_code)]

use std::fmt::Display;

use anyhow::{Context, bail, ensure};
use sockeye::transport::Stream;
use sockeye::{Client, CloseCode, DeflateOptions, Event, Message, Payload, WebSocket};

/// A code that RFC 6455 §7.4.2 leaves to applications.
const BYE: CloseCode = CloseCode::new(4001);

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let options = Options::read(std::env::args().skip(1))?;
    if let Err(error) = visit(&options).await {
        println!("error {error:#}");
    }
    Ok(())
}

/// What was typed.
#[derive(Debug, Default)]
struct Options {
    url: String,
    authority: Option<Vec<u8>>,
    compress: bool,
    lines: bool,
    stream: bool,
}

impl Options {
    fn read(mut arguments: impl Iterator<Item = String>) -> anyhow::Result<Self> {
        let mut options = Self::default();
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--authority" => {
                    let file = arguments.next().context("--authority wants a file")?;
                    options.authority = Some(std::fs::read(&file).with_context(|| format!("cannot read {file}"))?);
                }
                "--compress" => options.compress = true,
                "--lines" => options.lines = true,
                "--stream" => options.stream = true,
                url if url.starts_with("ws") => options.url = url.to_owned(),
                _ => bail!("usage: interop-client [--authority FILE] [--compress] [--lines | --stream] URL"),
            }
        }
        ensure!(!options.url.is_empty(), "no URL");
        Ok(options)
    }

    fn client(&self) -> anyhow::Result<Client> {
        // The server is to choose the second, since it does not speak the first.
        let mut builder = Client::builder().subprotocol("nope").subprotocol("chat");
        if self.compress {
            builder = builder.deflate(DeflateOptions::client());
        }
        if let Some(pem) = &self.authority {
            builder = builder.trust_pem(pem);
        }
        Ok(builder.build()?)
    }
}

async fn visit(options: &Options) -> anyhow::Result<()> {
    let client = options.client()?;
    let mut ws = client.connect(&options.url).await?;
    if options.stream {
        return binary(&mut ws).await;
    }
    if !options.lines {
        let subprotocol = ws.subprotocol().unwrap_or("none");
        check("subprotocol", subprotocol == "chat", &subprotocol);
        if ws.is_compressed() {
            check("compression", true, &"");
        }
        binary(&mut ws).await?;
    }
    text(&mut ws).await?;
    one_mebibyte(&mut ws, options.lines).await?;
    fragments(&mut ws).await?;

    ws.close(BYE, "bye").await?;
    let answer = ws.close_received().map_or(0, CloseCode::as_u16);
    let mut good = answer == BYE.as_u16();
    let mut seen = format!("it answered {answer}");
    if !options.lines {
        let (code, reason) = asked_to_close(&client, &options.url).await?;
        good &= code == BYE.as_u16() && reason == "bye";
        seen += &format!(", and closed with {code} {reason}");
    }
    check("close", good, &seen);
    Ok(())
}

/// The code and the reason with which a server closes that is asked to by the text `close`.
async fn asked_to_close(client: &Client, url: &str) -> anyhow::Result<(u16, String)> {
    let mut ws = client.connect(url).await?;
    ws.send("close").await?;
    while let Some(event) = ws.next_event().await? {
        if let Event::Close(Some(frame)) = event {
            return Ok((frame.code.as_u16(), frame.reason.as_str().to_owned()));
        }
    }
    bail!("it closed without a code")
}

async fn text(ws: &mut WebSocket<Stream>) -> anyhow::Result<()> {
    let texts = ["h\u{e9}llo \u{1f600}", ""];
    let mut echoed = Vec::new();
    for text in texts {
        ws.send(text).await?;
        echoed.push(message(ws).await?);
    }
    let good = echoed
        .iter()
        .zip(texts)
        .all(|(echo, text)| echo.as_text() == Some(text));
    check("text", good, &format_args!("{echoed:?}"));
    Ok(())
}

async fn binary(ws: &mut WebSocket<Stream>) -> anyhow::Result<()> {
    ws.send(Message::from(vec![0, 1, 255])).await?;
    let echo = message(ws).await?;
    check(
        "binary",
        echo.payload() == Payload::Binary(&[0, 1, 255]),
        &format_args!("{echo:?}"),
    );
    Ok(())
}

/// 1 MiB, which is also the greatest message by default.
async fn one_mebibyte(ws: &mut WebSocket<Stream>, text: bool) -> anyhow::Result<()> {
    let sent = if text {
        Message::from("0123456789abcdef".repeat(1 << 16))
    } else {
        Message::from(
            (0..1 << 20)
                .map(|i: u32| ((i * 31) ^ (i >> 7)) as u8)
                .collect::<Vec<_>>(),
        )
    };
    ws.send(sent.clone()).await?;
    let echo = message(ws).await?;
    check("1 MiB", echo == sent, &format_args!("{} bytes, or others", echo.len()));
    Ok(())
}

/// A fragmented message with a ping between its fragments.
async fn fragments(ws: &mut WebSocket<Stream>) -> anyhow::Result<()> {
    ws.send_fragment("fra", false).await?;
    ws.ping(b"between").await?;
    ws.send_fragment("gment", true).await?;
    // The pong may come before or behind the message.
    for _ in 0..2 {
        match ws.next_event().await?.context("closed in the middle")? {
            Event::Pong(payload) => check("ping", *payload == *b"between", &format_args!("{payload:?}")),
            Event::Text(text) => check("fragments", &*text == "fragment", &text),
            other => bail!("{other:?} instead of a pong and a text"),
        }
    }
    Ok(())
}

async fn message(ws: &mut WebSocket<Stream>) -> anyhow::Result<Message> {
    ws.recv().await?.context("closed instead of an echo")
}

fn check(cell: &str, good: bool, seen: &dyn Display) {
    if good {
        println!("pass {cell}");
    } else {
        println!("fail {cell}: {seen}");
    }
}
