//! Other people's programs, as Debian packages them, that run while a test does.

use std::env;
use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

/// A program that listens on a port of 127.0.0.1.
#[derive(Debug)]
pub(crate) struct Program {
    child: Child,
    pub(crate) port: u16,
}

impl Program {
    /// Starts `program` with what `arguments` makes of a free port, and waits until it listens there. `None`, with a loud
    /// line, if it is not installed; in CI that is a failure.
    pub(crate) fn start(program: &str, arguments: impl Fn(u16) -> Vec<String>) -> Option<Self> {
        let Some(path) = find(program) else {
            let missing = format!("{program} is not available; to get it: apt-get install {program}");
            let ci = env::var_os("CI").is_some_and(|ci| ci == "true" || ci == "1");
            assert!(!ci, "{missing}");
            // Past the test harness, which shows what a test prints only when it fails.
            let line = format!("SKIPPED: {missing}\n");
            std::io::stderr().write_all(line.as_bytes()).unwrap();
            return None;
        };
        // Somebody may take the port between our asking for it and the program's.
        for _ in 0..5 {
            let port = free_port();
            let child = Command::new(&path)
                .args(arguments(port))
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            let mut running = Self { child, port };
            if running.listens() {
                return Some(running);
            }
        }
        panic!("{program} does not start");
    }

    /// There is no event for a port that is opened by another program. It takes it a few milliseconds, and a refusal comes
    /// at once; the program itself runs in between.
    fn listens(&mut self) -> bool {
        loop {
            if TcpStream::connect(("127.0.0.1", self.port)).is_ok() {
                return self.child.try_wait().unwrap().is_none();
            }
            if self.child.try_wait().unwrap().is_some() {
                return false;
            }
            std::thread::yield_now();
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn find(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/usr/local/sbin".into()])
        .map(|directory| directory.join(program))
        .find(|path| path.is_file())
}

/// A port on which nobody listened just now.
pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}
