//! The halves of a connection, for two tasks.
//!
//! Both share one driver behind a lock that is held for the length of one poll and never while anything is awaited, so
//! neither half waits for what the other waits for. A transport remembers one task for reading and one for writing;
//! since both halves may wait for room to write (the receiver for its pongs), that one wakes both.

mod receiver;
mod sender;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use sockeye_proto::close::{CloseCode, CloseState};
use sockeye_proto::handshake::Headers;
use sockeye_proto::uri::WebSocketUri;

pub use self::receiver::{Receiver, ReuniteError};
pub use self::sender::Sender;

use crate::driver::{ClosedBy, Driver, Wakers};
use crate::error::Error;
use crate::opened::Handshake;
use crate::socket::WebSocket;

pub(crate) fn split<T>(ws: WebSocket<T>) -> (Sender<T>, Receiver<T>) {
    let shared = share(ws);
    let sender = Sender { shared: shared.clone() };
    (sender, Receiver { shared })
}

pub(crate) fn share<T>(ws: WebSocket<T>) -> Arc<Shared<T>> {
    Arc::new(Shared {
        driver: Mutex::new(ws.driver),
        handshake: ws.handshake,
        tasks: Arc::default(),
    })
}

/// What the halves have in common.
pub(crate) struct Shared<T> {
    driver: Mutex<Driver<T>>,
    handshake: Handshake,
    tasks: Arc<Tasks>,
}

/// The tasks that poll the halves, if they wait. Several may share a [`Sender`].
#[derive(Default)]
struct Tasks {
    senders: Mutex<Vec<Waker>>,
    receiver: Mutex<Option<Waker>>,
}

impl Tasks {
    fn wake_senders(&self) {
        let senders = std::mem::take(&mut *lock(&self.senders));
        senders.into_iter().for_each(Waker::wake);
    }

    fn wake_receiver(&self) {
        let receiver = lock(&self.receiver).take();
        if let Some(receiver) = receiver {
            receiver.wake();
        }
    }

    fn wait_to_send(&self, cx: &Context<'_>) {
        let mut senders = lock(&self.senders);
        if !senders.iter().any(|sender| sender.will_wake(cx.waker())) {
            senders.push(cx.waker().clone());
        }
    }

    fn wait_to_receive(&self, cx: &Context<'_>) {
        match &mut *lock(&self.receiver) {
            Some(waker) => waker.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        }
    }
}

impl<T> Shared<T> {
    pub(crate) fn driver(&self) -> MutexGuard<'_, Driver<T>> {
        lock(&self.driver)
    }

    pub(crate) fn wake_senders(&self) {
        self.tasks.wake_senders();
    }

    pub(crate) fn wake_receiver(&self) {
        self.tasks.wake_receiver();
    }

    /// Polls for something to be written.
    pub(crate) fn poll_write<R>(
        &self,
        cx: &mut Context<'_>,
        poll: impl FnOnce(&mut Driver<T>, &mut Context<'_>) -> Poll<R>,
    ) -> Poll<R> {
        self.tasks.wait_to_send(cx);
        let write = Waker::from(self.tasks.clone());
        poll(&mut self.driver(), &mut Context::from_waker(&write))
    }

    /// Polls for something to be read.
    pub(crate) fn poll_read<R>(
        &self,
        cx: &mut Context<'_>,
        poll: impl FnOnce(&mut Driver<T>, &mut Wakers<'_, '_, '_>) -> Poll<Result<Option<R>, Error>>,
    ) -> Poll<Result<Option<R>, Error>> {
        self.tasks.wait_to_receive(cx);
        let write = Waker::from(self.tasks.clone());
        let mut wakers = Wakers {
            read: cx,
            write: &mut Context::from_waker(&write),
        };
        let event = poll(&mut self.driver(), &mut wakers);
        if let Poll::Ready(Ok(None) | Err(_)) = event {
            // No room to write will come any more for those who wait for it.
            self.wake_senders();
        }
        event
    }
}

/// A lock is never held across anything that can panic and leave what it guards in between.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// To be woken when there is room to write: both.
impl Wake for Tasks {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.wake_senders();
        self.wake_receiver();
    }
}

/// What both halves tell.
macro_rules! accessors {
    ($half:ident) => {
        impl<T> $half<T> {
            /// As [`WebSocket::subprotocol`].
            #[must_use]
            pub fn subprotocol(&self) -> Option<&str> {
                self.shared.handshake.subprotocol()
            }

            /// As [`WebSocket::headers`].
            #[must_use]
            pub fn headers(&self) -> &Headers {
                self.shared.handshake.headers()
            }

            /// As [`WebSocket::uri`].
            #[must_use]
            pub fn uri(&self) -> Option<&WebSocketUri> {
                self.shared.handshake.uri()
            }

            /// As [`WebSocket::is_compressed`].
            #[must_use]
            pub fn is_compressed(&self) -> bool {
                self.shared.driver().connection().deflate().is_some()
            }

            /// As [`WebSocket::state`].
            #[must_use]
            pub fn state(&self) -> CloseState {
                self.shared.driver().state()
            }

            /// As [`WebSocket::close_received`].
            #[must_use]
            pub fn close_received(&self) -> Option<CloseCode> {
                self.shared.driver().connection().close_received()
            }

            /// As [`WebSocket::close_reason_received`].
            #[must_use]
            pub fn close_reason_received(&self) -> String {
                self.shared.driver().close_reasons().1.to_owned()
            }

            /// As [`WebSocket::close_sent`].
            #[must_use]
            pub fn close_sent(&self) -> Option<CloseCode> {
                self.shared.driver().close_sent()
            }

            /// As [`WebSocket::close_reason_sent`].
            #[must_use]
            pub fn close_reason_sent(&self) -> String {
                self.shared.driver().close_reasons().0.to_owned()
            }

            /// As [`WebSocket::closed_by`].
            #[must_use]
            pub fn closed_by(&self) -> Option<ClosedBy> {
                self.shared.driver().closed_by()
            }

            /// As [`WebSocket::latency`].
            #[must_use]
            pub fn latency(&self) -> Option<Duration> {
                self.shared.driver().latency()
            }

            /// Bytes of frames that were accepted for sending and not yet given to the transport.
            #[must_use]
            pub fn buffered_amount(&self) -> usize {
                self.shared.driver().unwritten()
            }

            /// As [`WebSocket::with_transport`].
            pub fn with_transport<R>(&self, look: impl FnOnce(&T) -> R) -> R {
                self.shared.driver().look(|outlet| look(&outlet.io))
            }
        }
    };
}

accessors!(Sender);
accessors!(Receiver);
