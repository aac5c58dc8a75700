//! Servers with very many connections: handlers are callbacks on shards, one thread a core, and topics fan messages out.
//!
//! [`sockeye::Server`] gives each connection a task and is the simple way; it serves tens of thousands of connections well.
//! Move here when there are hundreds of thousands, when most of what is sent is sent to many, or when a kilobyte a
//! connection is too much. An [`Engine`] has as many shards as the machine has cores. A shard has its own event loop,
//! listener, timer wheel, topics and buffers, and a [`Handler`] of yours whose callbacks it calls: nothing in a shard is
//! locked, and nothing waits. All that a turn of the loop brings for a connection leaves in one write.
//!
//! The protocol is that of [`sockeye_proto`], with all its checks and limits. [`ServerOptions`] are those of every server of
//! the workspace, so that moving up changes no setting.
//!
//! # Threads and async code
//!
//! A [`Handle`] sends to a connection, closes it or subscribes it from anywhere; a [`Publisher`] publishes from anywhere; a
//! [`Deferred`] decides about a request later. They post to the shard, which is woken once for all that comes meanwhile. A
//! [`Bridge`] is a handler that gives each connection an async task.
#![forbid(unsafe_code)]
#![allow(
    clippy::box_collection,
    clippy::vec_box,
    clippy::borrowed_box,
    reason = "a connection without a buffer holds one word, and buffers go from one to another in their boxes"
)]

mod bridge;
mod clock;
mod common;
mod engine;
mod entry;
mod event_loop;
mod filters;
mod hand_over;
mod handler;
mod mailbox;
mod metrics;
mod options;
mod pool;
mod report;
mod shard;
mod shared;
mod slab;
mod socket;
mod stream;
mod timers;
#[cfg(feature = "tls")]
mod tls;
mod topics;
mod upgrade;
mod wire;

pub use self::bridge::{Bridge, Ended, Session, SessionData, SessionError, SessionSender};
pub use self::clock::ManualClock;
pub use self::engine::{Engine, EngineBuilder, EngineHandle, MetricsReader};
pub use self::filters::TopicError;
pub use self::hand_over::{HandedOver, HandedStream};
pub use self::handler::{Cause, Decision, End, Handler};
pub use self::options::SlowSubscriber;
pub use self::report::ShutdownReport;
pub use self::shared::{Handle, Publisher};
pub use self::socket::Socket;
pub use self::upgrade::{Deferred, Upgrade};
#[cfg(feature = "tls")]
pub use sockeye::ServerTls;
pub use sockeye::{Delivery, ServerOptions};
pub use sockeye_proto::close::{CloseCode, CloseState};
pub use sockeye_proto::connection::Compress;
#[cfg(feature = "deflate")]
pub use sockeye_proto::deflate::DeflateOptions;
pub use sockeye_proto::error::SendError;
pub use sockeye_proto::handshake::Rejection;
pub use sockeye_proto::message::{Message, MessageKind, Payload};
pub use sockeye_proto::prepared::Prepared;
