//! What messages an open connection takes: the same for all clients and servers.

/// The methods of a builder with a `config_mut`.
macro_rules! message_options {
    ($builder:ty) => {
        impl $builder {
            /// The longest message that is received, in bytes, also after inflating. Default: 1 MiB.
            pub fn max_message_size(mut self, bytes: u64) -> Self {
                self.config_mut().max_message_size = bytes;
                self
            }

            /// The most frames of a message that is received. Default: 1,024, or a 256th of the longest message in bytes.
            pub fn max_message_parts(mut self, frames: u32) -> Self {
                self.config_mut().max_message_parts = Some(frames);
                self
            }

            /// Whole messages (the default) or chunks as they arrive.
            pub fn receive(mut self, receive: sockeye_proto::connection::Receive) -> Self {
                self.config_mut().receive = receive;
                self
            }
        }
    };
}

pub(crate) use message_options;
