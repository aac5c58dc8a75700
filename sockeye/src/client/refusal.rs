//! Reading a [`Refusal`], whose head has come and whose body may be long in coming.

use bytes::{Buf, BytesMut};
use sockeye_proto::handshake::client::Response;
use sockeye_proto::handshake::{BodyReader, BodyState};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::time::{Instant, timeout_at};

use crate::error::{BODY_MAX, Refusal};

/// The head has come, and the body is still on its way.
#[derive(Debug)]
pub(super) struct Refusing<T> {
    pub(super) io: T,
    pub(super) response: Response,
    /// What came with the head.
    pub(super) input: BytesMut,
}

impl<T: AsyncRead + Unpin> Refusing<T> {
    /// Reads the body, as much of it as is kept and comes before the deadline. Whatever happens to it, the head is worth
    /// telling.
    pub(super) async fn read(self, deadline: Instant) -> Box<Refusal> {
        let Self {
            mut io,
            response,
            mut input,
        } = self;
        let mut reader = BodyReader::new(&response, BODY_MAX);
        let mut body = Vec::new();
        let reading = async {
            let mut state = reader.state();
            while state == BodyState::Partial {
                if input.is_empty() {
                    state = match io.read_buf(&mut input).await {
                        Ok(0) => reader.end(),
                        Ok(_) => continue,
                        // TLS without close_notify and a reset end a body no more than they end a message.
                        Err(_) => break,
                    };
                } else {
                    state = reader.read(&input, &mut body);
                    input.advance(input.len());
                }
            }
            state
        };
        let state = timeout_at(deadline, reading).await.unwrap_or(BodyState::Partial);
        Box::new(Refusal::new(response, body, state == BodyState::Complete))
    }
}
