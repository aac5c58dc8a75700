//! A request before it is answered, and the decision about it that comes later.

use std::marker::PhantomData;
use std::net::SocketAddr;
use std::sync::Arc;

use sockeye_proto::handshake::Rejection;
use sockeye_proto::handshake::server::{Accepted, Request};
use tokio::sync::oneshot;

use crate::mailbox::{Command, Mailbox};
use crate::slab::Key;
use crate::stream::Stream;

/// A client's request for a WebSocket, and what is going to be answered.
pub struct Upgrade<'a, D> {
    pub(crate) request: &'a Request,
    pub(crate) accepted: &'a mut Accepted,
    pub(crate) stream: &'a dyn Stream,
    pub(crate) mailbox: &'a Arc<Mailbox>,
    pub(crate) key: Key,
    /// What tells a [`Deferred`] that the client is gone, if there is one.
    pub(crate) gone: Option<oneshot::Sender<()>>,
    pub(crate) data: PhantomData<fn(D)>,
}

impl<D: Send + 'static> Upgrade<'_, D> {
    /// The request: path, query, headers, cookies.
    #[must_use]
    pub fn request(&self) -> &Request {
        self.request
    }

    /// The response, as the options make it: its subprotocol and headers may be changed.
    pub fn response(&mut self) -> &mut Accepted {
        self.accepted
    }

    /// Where the client is; behind a proxy, where that is. `None` if it is gone already.
    #[must_use]
    pub fn peer_addr(&self) -> Option<SocketAddr> {
        self.stream.peer_addr().ok()
    }

    /// The certificates that the client has shown, its own first, in DER.
    #[must_use]
    pub fn peer_certificates(&self) -> Option<Vec<Vec<u8>>> {
        self.stream.peer_certificates()
    }

    /// Whether it came over TLS.
    #[must_use]
    pub fn is_secure(&self) -> bool {
        self.stream.is_secure()
    }

    /// Leaves the decision to a task or another thread, which has the time of the handshake's deadline for it. Return
    /// [`Decision::Later`](crate::Decision::Later) then.
    pub fn defer(&mut self) -> Deferred<D> {
        let (gone, is_gone) = oneshot::channel();
        self.gone = Some(gone);
        Deferred {
            request: self.request.clone(),
            accepted: self.accepted.clone(),
            way: Some((self.mailbox.clone(), self.key)),
            is_gone,
            data: PhantomData,
        }
    }
}

impl<D> std::fmt::Debug for Upgrade<'_, D> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Upgrade")
            .field("request", self.request)
            .finish_non_exhaustive()
    }
}

/// What was decided.
pub(crate) type Answer<D> = Result<(Accepted, D), Rejection>;

/// A request whose answer is still to come. Dropped without one, the client gets 500.
///
/// # Examples
///
/// ```
/// use sockeye_engine::{Decision, Rejection, Upgrade};
///
/// # async fn look_up(token: &str) -> Option<String> { Some(token.to_owned()) }
/// # fn upgrade(request: &mut Upgrade<'_, String>, runtime: &tokio::runtime::Handle) -> Decision<String> {
/// let deferred = request.defer();
/// runtime.spawn(async move {
///     let mut deferred = deferred;
///     let token = deferred.request().query().unwrap_or_default().to_owned();
///     let user = tokio::select! {
///         user = look_up(&token) => user,
///         () = deferred.gone() => return, // The client has not waited.
///     };
///     match user {
///         Some(user) => deferred.accept(user),
///         None => deferred.reject(Rejection::new(401)),
///     }
/// });
/// Decision::Later
/// # }
/// ```
#[must_use = "the client waits for an answer"]
pub struct Deferred<D: Send + 'static> {
    request: Request,
    accepted: Accepted,
    way: Option<(Arc<Mailbox>, Key)>,
    is_gone: oneshot::Receiver<()>,
    data: PhantomData<fn(D)>,
}

impl<D: Send + 'static> Deferred<D> {
    /// The request.
    #[must_use]
    pub fn request(&self) -> &Request {
        &self.request
    }

    /// The response, as it stands.
    pub fn response(&mut self) -> &mut Accepted {
        &mut self.accepted
    }

    /// Ready when the connection has ended, by the client or by the handshake's deadline: there is nothing to decide any
    /// more.
    ///
    /// # Cancel safety
    ///
    /// Safe.
    pub async fn gone(&mut self) {
        // Sent or dropped, it means the same.
        let _ = (&mut self.is_gone).await;
    }

    /// Opens the connection with this data.
    pub fn accept(mut self, data: D) {
        let accepted = self.accepted.clone();
        self.answer(Ok((accepted, data)));
    }

    /// Answers that.
    pub fn reject(mut self, rejection: Rejection) {
        self.answer(Err(rejection));
    }

    fn answer(&mut self, answer: Answer<D>) {
        if let Some((mailbox, key)) = self.way.take() {
            mailbox.post(Command::Decide(key, Box::new(answer)));
        }
    }
}

impl<D: Send + 'static> Drop for Deferred<D> {
    fn drop(&mut self) {
        self.answer(Err(Rejection::new(500)));
    }
}

impl<D: Send + 'static> std::fmt::Debug for Deferred<D> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Deferred")
            .field("request", &self.request)
            .finish_non_exhaustive()
    }
}
