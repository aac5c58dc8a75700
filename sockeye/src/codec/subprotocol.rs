//! [`Codecs`]: one codec for each subprotocol (RFC 6455 §1.9), chosen by what the handshake agreed on.

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;

use sockeye_proto::message::Message;

use super::{Codec, Decode, Encode};

/// The codecs of subprotocols, for values of the same types.
///
/// ```
/// # #[cfg(all(feature = "json", feature = "msgpack"))]
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use sockeye::codec::{Codecs, Json, MessagePack, Typed};
///
/// let codecs = Codecs::<Vec<u32>>::new()
///     .with("numbers.json", Json)
///     .with("numbers.msgpack", MessagePack::new());
///
/// let options = codecs.subprotocols().fold(sockeye::ServerOptions::builder(), |options, name| options.subprotocol(name));
/// let options = options.build()?;
/// # let (near, far) = tokio::io::duplex(1024);
/// # let client = sockeye::Client::builder().subprotocol("numbers.msgpack").build()?;
/// # let (_client, ws) = tokio::join!(client.connect_over(near, "ws://localhost/"), sockeye::accept(far, &options));
/// # let ws = ws?;
/// // Of an accepted connection:
/// let Some(codec) = codecs.choose(ws.subprotocol()) else {
///     return Err("the client speaks no subprotocol of ours".into());
/// };
/// let mut ws = Typed::<_, _, Vec<u32>>::new(ws, codec);
/// ws.send(&vec![1, 2, 3]).await?;
/// # Ok(())
/// # }
/// # #[cfg(not(all(feature = "json", feature = "msgpack")))]
/// # fn main() {}
/// ```
pub struct Codecs<In, Out = In> {
    codecs: Vec<(Box<str>, AnyCodec<In, Out>)>,
    fallback: Option<AnyCodec<In, Out>>,
}

impl<In, Out> Codecs<In, Out> {
    /// None yet.
    #[must_use]
    pub fn new() -> Self {
        Self {
            codecs: Vec::new(),
            fallback: None,
        }
    }

    /// Adds the codec of a subprotocol.
    #[must_use]
    pub fn with<C>(mut self, subprotocol: &str, codec: C) -> Self
    where
        C: Encode<Out> + Decode<In> + Send + Sync + 'static,
    {
        self.codecs.push((subprotocol.into(), AnyCodec::new(codec)));
        self
    }

    /// Sets the codec of connections that have agreed on no subprotocol. Default: they have none.
    #[must_use]
    pub fn with_fallback<C>(mut self, codec: C) -> Self
    where
        C: Encode<Out> + Decode<In> + Send + Sync + 'static,
    {
        self.fallback = Some(AnyCodec::new(codec));
        self
    }

    /// The names of the subprotocols, in the order in which they were added: for the options of a client or a server.
    pub fn subprotocols(&self) -> impl Iterator<Item = &str> {
        self.codecs.iter().map(|(name, _)| &**name)
    }

    /// The codec of the subprotocol that a connection has agreed on.
    #[must_use]
    pub fn choose(&self, subprotocol: Option<&str>) -> Option<AnyCodec<In, Out>> {
        let Some(subprotocol) = subprotocol else {
            return self.fallback.clone();
        };
        let codec = self.codecs.iter().find(|(name, _)| **name == *subprotocol);
        codec.map(|(_, codec)| codec.clone())
    }
}

impl<In, Out> Default for Codecs<In, Out> {
    fn default() -> Self {
        Self::new()
    }
}

impl<In, Out> fmt::Debug for Codecs<In, Out> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.subprotocols()).finish()
    }
}

/// A codec whose type is not known before the program runs. Clones share it.
pub struct AnyCodec<In, Out = In>(Arc<dyn Both<In, Out>>);

impl<In, Out> AnyCodec<In, Out> {
    /// Forgets the type of a codec.
    pub fn new<C>(codec: C) -> Self
    where
        C: Encode<Out> + Decode<In> + Send + Sync + 'static,
    {
        Self(Arc::new(codec))
    }
}

impl<In, Out> Clone for AnyCodec<In, Out> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<In, Out> fmt::Debug for AnyCodec<In, Out> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AnyCodec").finish_non_exhaustive()
    }
}

trait Both<In, Out>: Send + Sync {
    fn encode(&self, value: &Out) -> Result<Message, AnyError>;
    fn decode(&self, message: Message) -> Result<In, AnyError>;
}

impl<In, Out, C> Both<In, Out> for C
where
    C: Encode<Out> + Decode<In> + Send + Sync,
{
    fn encode(&self, value: &Out) -> Result<Message, AnyError> {
        Encode::encode(self, value).map_err(AnyError::new)
    }

    fn decode(&self, message: Message) -> Result<In, AnyError> {
        Decode::decode(self, message).map_err(AnyError::new)
    }
}

impl<In, Out> Codec for AnyCodec<In, Out> {
    type Error = AnyError;
}

impl<In, Out> Encode<Out> for AnyCodec<In, Out> {
    fn encode(&self, value: &Out) -> Result<Message, AnyError> {
        self.0.encode(value)
    }
}

impl<In, Out> Decode<In> for AnyCodec<In, Out> {
    fn decode(&self, message: Message) -> Result<In, AnyError> {
        self.0.decode(message)
    }
}

/// The error of a codec whose type is not known; its [source](StdError::source) is that error.
#[derive(Debug)]
pub struct AnyError(Box<dyn StdError + Send + Sync>);

impl AnyError {
    fn new(error: impl StdError + Send + Sync + 'static) -> Self {
        Self(Box::new(error))
    }
}

impl fmt::Display for AnyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl StdError for AnyError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        Some(&*self.0)
    }
}
