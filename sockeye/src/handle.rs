//! A connection as its readers and writers of single messages see it: owned by one task, or shared by halves.

use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite};

use crate::driver::{Driver, Wakers};
use crate::error::Error;
use crate::split::Shared;

/// A borrowed connection.
pub(crate) enum Handle<'a, T> {
    Whole(&'a mut Driver<T>),
    Half(&'a Shared<T>),
}

impl<T> Handle<'_, T> {
    /// Does something at once.
    pub(crate) fn with<R>(&mut self, work: impl FnOnce(&mut Driver<T>) -> R) -> R {
        match self {
            Self::Whole(driver) => work(driver),
            Self::Half(shared) => work(&mut shared.driver()),
        }
    }

    /// A piecewise message is over, or given up: those who wait for that go on.
    pub(crate) fn end_streaming(&mut self) {
        self.with(|driver| driver.streaming = false);
        if let Self::Half(shared) = self {
            shared.wake_senders();
        }
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> Handle<'_, T> {
    /// Polls for something to be written.
    pub(crate) fn poll_write<R>(
        &mut self,
        cx: &mut Context<'_>,
        poll: impl FnOnce(&mut Driver<T>, &mut Context<'_>) -> Poll<R>,
    ) -> Poll<R> {
        match self {
            Self::Whole(driver) => poll(driver, cx),
            Self::Half(shared) => shared.poll_write(cx, poll),
        }
    }

    /// Polls for something to be read.
    pub(crate) fn poll_read<R>(
        &mut self,
        cx: &mut Context<'_>,
        poll: impl FnOnce(&mut Driver<T>, &mut Wakers<'_, '_, '_>) -> Poll<Result<Option<R>, Error>>,
    ) -> Poll<Result<Option<R>, Error>> {
        match self {
            Self::Whole(driver) => with_wakers(cx, |wakers| poll(driver, wakers)),
            Self::Half(shared) => shared.poll_read(cx, poll),
        }
    }
}

/// The wakers of a task that owns both directions.
#[inline]
pub(crate) fn with_wakers<R>(cx: &mut Context<'_>, poll: impl FnOnce(&mut Wakers<'_, '_, '_>) -> R) -> R {
    let mut write = Context::from_waker(cx.waker());
    poll(&mut Wakers {
        write: &mut write,
        read: &mut Context::from_waker(cx.waker()),
    })
}
