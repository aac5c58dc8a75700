//! A process of this program's, and the lines that go to and from it.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::str::FromStr;

use anyhow::{Context as _, Result, bail};

/// Killed when it is dropped.
pub(crate) struct Process {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
}

impl Process {
    pub(crate) fn start(args: &[&str]) -> Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let stdin = child.stdin.take();
        let stdout = child.stdout.take().context("it has no stdout")?;
        Ok(Self {
            child,
            stdin,
            stdout: BufReader::new(stdout),
        })
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn tell(&mut self, line: &str) -> Result<()> {
        let stdin = self.stdin.as_mut().context("it has no stdin")?;
        writeln!(stdin, "{line}").context("a process has ended")
    }

    /// The number in its next line, which begins with this word.
    pub(crate) fn told<T: FromStr>(&mut self, word: &str) -> Result<T> {
        let mut line = String::new();
        self.stdout.read_line(&mut line)?;
        let number = line
            .trim_end()
            .strip_prefix(word)
            .and_then(|rest| rest.trim().parse().ok());
        match number {
            Some(number) => Ok(number),
            None => bail!("a process was to say `{word}` and said `{}`", line.trim_end()),
        }
    }

    /// Has it end, by the end of its stdin.
    pub(crate) fn end(&mut self) {
        self.stdin = None;
    }

    /// Waits until it has ended.
    pub(crate) fn ended(mut self) -> Result<()> {
        self.end();
        self.child.wait()?;
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Also one that has ended; it is to be waited for in either case.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
