//! What other threads ask for.

use std::any::Any;

use sockeye_proto::close::CloseCode;

use super::Shard;
use crate::Delivery;
use crate::entry::Phase;
use crate::handler::Handler;
use crate::mailbox::Command;
use crate::metrics::Count;
use crate::slab::Key;
use crate::socket::Socket;
use crate::stream::Stream;
use crate::upgrade::Answer;
use crate::wire::Acceptor;

impl<H: Handler, S: Stream> Shard<H, S> {
    /// Does all that has been asked for. `adopt` takes on connections that other shards have accepted.
    pub(crate) fn obey(&mut self, mut adopt: impl FnMut(&mut Self, Acceptor, mio::net::TcpStream)) {
        let mut commands = std::mem::take(&mut self.commands);
        self.common.mailbox.take(&mut commands);
        for command in commands.drain(..) {
            match command {
                Command::Send(key, message) => self.for_queue(key, |socket| {
                    let _: Delivery = socket.send(&message);
                }),
                Command::Close(key, code, reason) => self.for_queue(key, |socket| close(socket, code, &reason)),
                Command::Terminate(key) => self.for_queue(key, |socket| {
                    socket.terminate();
                }),
                Command::Subscribe(key, filter) => self.for_queue(key, |socket| {
                    // The filter was checked by who posted this; too many subscriptions are its own fault.
                    let _ = socket.subscribe(&filter);
                }),
                Command::Unsubscribe(key, filter) => self.for_queue(key, |socket| {
                    socket.unsubscribe(&filter);
                }),
                Command::Resume(key) => self.resume(key),
                Command::Wake(key) => {
                    self.with_socket(key, H::woken);
                    self.settle(key);
                }
                Command::Publish(name, publication) => {
                    if self.common.topics.publish(&name, None, || publication) {
                        self.common.counts.add(Count::Published, 1);
                    }
                }
                Command::Decide(key, answer) => self.take_decision(key, answer),
                Command::Adopt(acceptor, tcp) => adopt(self, acceptor, tcp),
                Command::Shutdown(within, tally) => self.leave(within, tally),
            }
        }
        commands.shrink_to(RETAINED);
        self.commands = commands;
    }

    fn take_decision(&mut self, key: Key, answer: Box<dyn Any + Send>) {
        if let Ok(answer) = answer.downcast::<Answer<H::Data>>() {
            self.decide(key, *answer);
        }
    }

    /// Does something with an open connection whose output then waits for the end of the turn, with what else comes.
    fn for_queue(&mut self, key: Key, work: impl FnOnce(&mut Socket<'_, H::Data>)) {
        let Some(entry) = self.slab.get_mut(key) else { return };
        let Phase::Open(connection, data) = &mut entry.phase else {
            return;
        };
        let queue = entry.queue.get_or_insert_with(|| self.common.pool.take_output());
        work(&mut Socket {
            data,
            connection,
            out: queue,
            rest: &mut entry.rest,
            stream: &mut entry.stream,
            common: &mut self.common,
        });
        if !entry.rest.corked {
            entry.rest.corked = true;
            self.common.corked.push(key);
        }
    }
}

fn close<D>(socket: &mut Socket<'_, D>, code: CloseCode, reason: &str) {
    let code = if code.is_sendable() { code } else { CloseCode::NORMAL };
    // §5.5: the body of a control frame has 125 bytes at most, two of which are the code.
    let end = reason.floor_char_boundary(123);
    let _ = socket.close(code, &reason[..end]);
}

/// Commands for which room is kept.
const RETAINED: usize = 4096;
