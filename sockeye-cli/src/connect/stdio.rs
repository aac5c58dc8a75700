//! stdin and stdout beside a runtime: each has a thread of its own, which may block for as long as it likes, and a
//! short queue between.

use std::borrow::Cow;
use std::io::{self, BufRead, BufWriter, IsTerminal, Write};
use std::thread;

use sockeye::Message;
use tokio::sync::{mpsc, oneshot};

use crate::report::Failure;

/// The lines of stdin, as messages.
#[derive(Debug)]
pub(crate) struct Lines(mpsc::Receiver<Result<Message, Failure>>);

impl Lines {
    /// Starts to read. The thread is never waited for: it may stand in a read that does not end.
    pub(crate) fn read(binary: bool) -> Self {
        let (messages, lines) = mpsc::channel(1);
        thread::spawn(move || read_lines(io::stdin().lock(), binary, |line| messages.blocking_send(line).is_ok()));
        Self(lines)
    }

    /// The next line; `None` at the end of stdin. An error is the last.
    ///
    /// # Cancel safety
    ///
    /// Safe.
    pub(crate) async fn next(&mut self) -> Option<Result<Message, Failure>> {
        self.0.recv().await
    }
}

/// Gives each line to `take`, until that wants no more.
fn read_lines(mut input: impl BufRead, binary: bool, mut take: impl FnMut(Result<Message, Failure>) -> bool) {
    for number in 1_u64.. {
        let mut line = Vec::new();
        let message = match input.read_until(b'\n', &mut line) {
            Ok(0) => return,
            Ok(_) => message(line, number, binary),
            Err(error) => Err(Failure::usage(format!("cannot read stdin: {error}"))),
        };
        let last = message.is_err();
        if !take(message) || last {
            return;
        }
    }
}

/// A line without its end: CRLF or LF of text, LF of bytes, where a CR may be one of them.
fn message(mut line: Vec<u8>, number: u64, binary: bool) -> Result<Message, Failure> {
    if line.pop_if(|last| *last == b'\n').is_some() && !binary {
        line.pop_if(|last| *last == b'\r');
    }
    if binary {
        return Ok(line.into());
    }
    String::from_utf8(line).map(Message::from).map_err(|_| {
        Failure::usage(format!(
            "line {number} of stdin is not UTF-8, which text must be; send bytes with --binary"
        ))
    })
}

/// Messages on their way to stdout, a few at a time.
#[derive(Debug)]
pub(crate) struct Output(mpsc::Sender<Message>);

/// What became of the messages.
#[derive(Debug)]
pub(crate) struct Written(oneshot::Receiver<io::Result<()>>);

impl Output {
    pub(crate) fn new() -> (Self, Written) {
        let (output, mut messages) = mpsc::channel(QUEUE);
        let (end, ended) = oneshot::channel();
        thread::spawn(move || {
            let stdout = io::stdout();
            let terminal = stdout.is_terminal();
            let result = write_messages(&mut messages, terminal, BufWriter::new(stdout.lock()));
            // First, so that whoever learns of the closed queue can learn the cause as well.
            let _ = end.send(result);
        });
        (Self(output), Written(ended))
    }

    /// Queues a message, once there is room. False when nothing can be written any more.
    ///
    /// # Cancel safety
    ///
    /// The message may be lost.
    pub(crate) async fn write(&self, message: Message) -> bool {
        self.0.send(message).await.is_ok()
    }
}

impl Written {
    /// Waits until all is written, after the [`Output`] was dropped.
    pub(crate) async fn ended(self) -> Result<(), Failure> {
        match self.0.await {
            Ok(Err(error)) if error.kind() == io::ErrorKind::BrokenPipe => Err(Failure::OutputClosed),
            Ok(Err(error)) => Err(Failure::usage(format!("cannot write to stdout: {error}"))),
            Ok(Ok(())) | Err(_) => Ok(()),
        }
    }
}

/// Flushes when nothing more waits: one write for what came together, and no delay for what came alone.
fn write_messages(messages: &mut mpsc::Receiver<Message>, terminal: bool, mut stdout: impl Write) -> io::Result<()> {
    while let Some(message) = messages.blocking_recv() {
        write_message(&message, terminal, &mut stdout)?;
        while let Ok(message) = messages.try_recv() {
            write_message(&message, terminal, &mut stdout)?;
        }
        stdout.flush()?;
    }
    Ok(())
}

fn write_message(message: &Message, terminal: bool, stdout: &mut impl Write) -> io::Result<()> {
    if terminal {
        stdout.write_all(printable(message).as_bytes())?;
    } else {
        stdout.write_all(message.as_bytes())?;
    }
    stdout.write_all(b"\n")
}

/// A message as a terminal may show it: a peer's control characters could move the cursor, rename the window or type
/// for the user. Line ends and tabs stay.
fn printable(message: &Message) -> Cow<'_, str> {
    let harmless = |c: char| !c.is_control() || matches!(c, '\n' | '\t');
    if let Some(text) = message.as_text()
        && text.chars().all(harmless)
    {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(message.len());
    for chunk in message.as_bytes().utf8_chunks() {
        for c in chunk.valid().chars() {
            if harmless(c) {
                shown.push(c);
            } else {
                shown.extend(c.escape_default());
            }
        }
        for byte in chunk.invalid() {
            shown += &format!("\\x{byte:02x}");
        }
    }
    shown.into()
}

/// Messages that wait to be written at most; each is as long as a message may be.
const QUEUE: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(input: &[u8], binary: bool) -> Vec<Result<Vec<u8>, String>> {
        let mut lines = Vec::new();
        read_lines(input, binary, |line| {
            lines.push(match line {
                Ok(message) => Ok(message.as_bytes().to_vec()),
                Err(failure) => Err(format!("{failure:?}")),
            });
            true
        });
        lines
    }

    #[test]
    fn a_line_ends_with_lf_or_crlf_or_the_input() {
        let expected = [b"one".as_slice(), b"", b"two", b"three"].map(|line| Ok(line.to_vec()));
        assert_eq!(lines(b"one\n\ntwo\r\nthree", false), expected);
        assert_eq!(lines(b"a\r\n\xff", true), [Ok(b"a\r".to_vec()), Ok(b"\xff".to_vec())]);
        assert_eq!(lines(b"", false), []);
    }

    #[test]
    fn text_that_is_not_utf8_is_told_by_its_line_and_ends_the_input() {
        let lines = lines(b"good\nb\xffd\nmore\n", false);
        assert_eq!(lines.len(), 2);
        assert!(lines[1].as_ref().unwrap_err().contains("line 2 of stdin"));
    }

    #[test]
    fn a_terminal_is_shown_no_control_characters() {
        let shown = |message: Message| printable(&message).into_owned();
        assert_eq!(shown("smörgås\n\t🐟".into()), "smörgås\n\t🐟");
        assert_eq!(
            shown("\x1b]0;title\x07 \u{9b}2J\r".into()),
            "\\u{1b}]0;title\\u{7} \\u{9b}2J\\r"
        );
        assert_eq!(shown(b"ok \xff\x00".to_vec().into()), "ok \\xff\\u{0}");
    }

    #[test]
    fn elsewhere_bytes_are_written_as_they_came() {
        let mut written = Vec::new();
        write_message(&Message::from(&b"\x1b\xff"[..]), false, &mut written).unwrap();
        write_message(&Message::from("\x1b[2J"), false, &mut written).unwrap();
        assert_eq!(written, b"\x1b\xff\n\x1b[2J\n");
    }
}
