//! What the program says: data on stdout, talk on stderr, and the exit code.

use std::fmt::Display;
use std::io::{self, Write};
use std::process::ExitCode;

/// Why a command ends early, and so the exit code.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Exit code 1: the peer refused, or the connection ended badly.
    Abnormal(String),
    /// Exit code 2: what was typed cannot be done, or a file, an address or a name fails.
    Usage(String),
    /// Exit code 2: a process that this one has started has said why.
    Told,
    /// Exit code 0: whoever read stdout has read enough.
    OutputClosed,
}

impl Failure {
    pub(crate) fn abnormal(sentence: impl Display) -> Self {
        Self::Abnormal(sentence.to_string())
    }

    pub(crate) fn usage(sentence: impl Display) -> Self {
        Self::Usage(sentence.to_string())
    }

    /// Says it on stderr, once, and gives the exit code.
    pub(crate) fn tell(&self) -> ExitCode {
        match self {
            Self::Abnormal(sentence) => {
                talk(sentence);
                ExitCode::from(1)
            }
            Self::Usage(sentence) => {
                talk(sentence);
                ExitCode::from(2)
            }
            Self::Told => ExitCode::from(2),
            Self::OutputClosed => ExitCode::SUCCESS,
        }
    }
}

/// A line on stderr. That nobody reads it stops nothing.
pub(crate) fn talk(line: impl Display) {
    let _ = writeln!(io::stderr().lock(), "sockeye: {line}");
}

/// Writes to stdout and flushes it, so that a program that waits for a line gets it.
pub(crate) fn output(bytes: &[u8]) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(bytes).and_then(|()| stdout.flush()) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Err(Failure::OutputClosed),
        Err(error) => Err(Failure::usage(format!("cannot write to stdout: {error}"))),
    }
}
