//! Deadlines as sockets know them. That they are kept is shown in `src/blocking/tests.rs`, by a clock of that's own.

use std::io::{Read, Write};
use std::time::Duration;

use sockeye::{Error, ServerOptions, blocking};

use crate::common::{REQUEST, Raw, TEXT, masked, read_head, tcp_pair};

/// The system wakes a thread that waits when the next deadline comes, and not before.
#[test]
fn deadlines_are_timeouts_of_the_socket() {
    let (mut peer, mut ws) = Raw::connect(&ServerOptions::default());
    peer.send(&masked(TEXT, b"read"));
    ws.recv().unwrap();
    ws.send("written").unwrap();
    // Until the ping that is due, and until a write without progress fails; rounded up to tenths of a second.
    let about = |timeout: Option<Duration>| timeout.unwrap().as_secs_f64().round() as u64;
    assert_eq!(about(ws.transport().read_timeout().unwrap()), 20);
    assert_eq!(about(ws.transport().write_timeout().unwrap()), 20);
    let mut timing = sockeye::Timing::default();
    timing.ping_after = Some(Duration::from_secs(600));
    ws.set_timing(timing);
    ws.set_write_timeout(None);
    peer.send(&masked(TEXT, b"read"));
    ws.recv().unwrap();
    ws.send("written").unwrap();
    assert_eq!(about(ws.transport().read_timeout().unwrap()), 600);
    assert_eq!(ws.transport().write_timeout().unwrap(), None);
}

/// A timeout of the transport's own is told, and is not the end.
#[test]
fn a_timeout_of_the_socket_is_not_the_end() {
    struct Hasty(std::net::TcpStream);
    impl Read for Hasty {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            self.0.read(buffer)
        }
    }
    impl Write for Hasty {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.write(bytes)
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let (mut near, far) = tcp_pair();
    near.write_all(REQUEST).unwrap();
    let mut ws = blocking::accept(blocking::Untimed(Hasty(far)), &ServerOptions::default()).unwrap();
    read_head(&mut near);
    // A timeout that is over at once.
    ws.transport().0.0.set_nonblocking(true).unwrap();
    for _ in 0..2 {
        let Err(Error::Io(error)) = ws.recv() else {
            panic!("not told");
        };
        assert!(matches!(
            error.kind(),
            std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut
        ));
    }
    near.write_all(&masked(TEXT, b"there")).unwrap();
    ws.transport().0.0.set_nonblocking(false).unwrap();
    assert_eq!(ws.recv().unwrap(), Some("there".into()));
}
