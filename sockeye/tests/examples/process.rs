//! A program of `examples/`, run: what it prints is waited for, line by line.

use std::path::PathBuf;
use std::process::Stdio;

use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};

/// A running example. Dropping it kills it.
#[derive(Debug)]
pub(crate) struct Example {
    child: Child,
    input: Option<ChildStdin>,
    output: Lines<BufReader<ChildStdout>>,
    talk: Lines<BufReader<ChildStderr>>,
}

/// How an example ended, and what it printed that was not read before.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) output: Vec<String>,
    pub(crate) talk: Vec<String>,
}

impl Example {
    pub(crate) fn start(name: &str, arguments: &[&str]) -> Self {
        let mut command = Command::new(path(name));
        // A proxy of the machine's has no part in this.
        for variable in ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"] {
            command.env_remove(variable).env_remove(variable.to_lowercase());
        }
        let mut child = command
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        Self {
            input: child.stdin.take(),
            output: BufReader::new(child.stdout.take().unwrap()).lines(),
            talk: BufReader::new(child.stderr.take().unwrap()).lines(),
            child,
        }
    }

    /// The example as a server on a free port, and the URL that it prints.
    pub(crate) async fn serving(name: &str, arguments: &[&str]) -> (Self, String) {
        let mut example = Self::start(name, arguments);
        let line = example.line().await;
        let url = line.strip_prefix("listening on ").unwrap_or_else(|| panic!("{line}"));
        let url = url.to_owned();
        (example, url)
    }

    /// The next line of its output.
    pub(crate) async fn line(&mut self) -> String {
        match self.output.next_line().await.unwrap() {
            Some(line) => line,
            None => panic!("it has ended: {:?}", self.ended().await),
        }
    }

    /// The next line that it prints for whoever sits in front of it.
    pub(crate) async fn talk(&mut self) -> String {
        match self.talk.next_line().await.unwrap() {
            Some(line) => line,
            None => panic!("it has ended: {:?}", self.ended().await),
        }
    }

    pub(crate) async fn prints(&mut self, expected: &str) {
        assert_eq!(self.line().await, expected);
    }

    pub(crate) async fn enter(&mut self, line: &str) {
        let input = self.input.as_mut().unwrap();
        input.write_all(format!("{line}\n").as_bytes()).await.unwrap();
        input.flush().await.unwrap();
    }

    pub(crate) fn end_of_input(&mut self) {
        self.input = None;
    }

    /// Sends a signal, by a name that `kill` knows.
    #[cfg(unix)]
    pub(crate) async fn signal(&mut self, name: &str) {
        let pid = self.child.id().unwrap().to_string();
        let sent = Command::new("kill").args([name, &pid]).status().await.unwrap();
        assert!(sent.success());
    }

    /// Waits until it has ended by itself.
    pub(crate) async fn ended(&mut self) -> Ended {
        let (output, talk) = tokio::join!(rest(&mut self.output), rest(&mut self.talk));
        Ended {
            code: self.child.wait().await.unwrap().code(),
            output,
            talk,
        }
    }

    /// Waits until it has ended well, with these last lines and no complaint.
    pub(crate) async fn ends_well(&mut self, output: &[&str]) {
        let expected = Ended {
            code: Some(0),
            output: output.iter().map(|line| (*line).to_owned()).collect(),
            talk: Vec::new(),
        };
        assert_eq!(self.ended().await, expected);
    }
}

async fn rest<R: AsyncRead + Unpin>(lines: &mut Lines<BufReader<R>>) -> Vec<String> {
    let mut rest = Vec::new();
    while let Some(line) = lines.next_line().await.unwrap() {
        rest.push(line);
    }
    rest
}

/// Where cargo has put an example: beside the directory of this test. It builds them with all tests.
fn path(name: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let profile = test.ancestors().nth(2).unwrap();
    let path = profile
        .join("examples")
        .join(format!("{name}{}", std::env::consts::EXE_SUFFIX));
    assert!(
        path.exists(),
        "{} is missing: cargo build --examples --all-features",
        path.display()
    );
    path
}
