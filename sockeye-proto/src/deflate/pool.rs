//! Codecs that connections borrow for the length of one message.
//!
//! Without context takeover a codec carries nothing from one message to the next, so a connection need not own one:
//! with `std` each thread keeps a few, and an idle connection holds none. Without `std` there are no thread locals;
//! a codec is then made for each message.

#[cfg(feature = "std")]
pub(crate) use self::thread::{put_deflater, put_inflater, take_deflater, take_inflater};

#[cfg(not(feature = "std"))]
pub(crate) use self::fresh::{put_deflater, put_inflater, take_deflater, take_inflater};

#[cfg(feature = "std")]
mod thread {
    use core::cell::RefCell;
    use std::thread_local;

    use alloc::boxed::Box;
    use alloc::vec::Vec;

    use crate::deflate::DeflaterSettings;
    use crate::deflate::codec::{Deflater, Inflater};

    pub(crate) fn take_inflater() -> Box<Inflater> {
        with(|pool| pool.inflaters.pop())
            .flatten()
            .unwrap_or_else(|| Box::new(Inflater::new()))
    }

    pub(crate) fn put_inflater(mut inflater: Box<Inflater>) {
        with(|pool| {
            if pool.inflaters.len() < KEPT {
                inflater.reset();
                pool.inflaters.push(inflater);
            }
        });
    }

    pub(crate) fn take_deflater(settings: DeflaterSettings) -> Box<Deflater> {
        with(|pool| {
            let fits = |deflater: &Box<Deflater>| deflater.settings() == settings;
            let at = pool.deflaters.iter().rposition(fits)?;
            Some(pool.deflaters.swap_remove(at))
        })
        .flatten()
        .unwrap_or_else(|| Box::new(Deflater::new(settings)))
    }

    pub(crate) fn put_deflater(mut deflater: Box<Deflater>) {
        with(|pool| {
            deflater.reset();
            deflater.shrink();
            if pool.deflaters.len() == KEPT {
                pool.deflaters.remove(0);
            }
            pool.deflaters.push(deflater);
        });
    }

    #[derive(Default)]
    struct Pool {
        inflaters: Vec<Box<Inflater>>,
        deflaters: Vec<Box<Deflater>>,
    }

    thread_local! {
        static POOL: RefCell<Pool> = RefCell::default();
    }

    /// `None` while the thread ends and its pool is gone.
    fn with<T>(work: impl FnOnce(&mut Pool) -> T) -> Option<T> {
        POOL.try_with(|pool| work(&mut pool.borrow_mut())).ok()
    }

    /// How many codecs of each kind a thread keeps: at most 224 KiB of inflaters and, at the default settings, 1.1 MiB
    /// of compressors.
    const KEPT: usize = 4;
}

#[cfg(not(feature = "std"))]
mod fresh {
    use alloc::boxed::Box;

    use crate::deflate::DeflaterSettings;
    use crate::deflate::codec::{Deflater, Inflater};

    pub(crate) fn take_inflater() -> Box<Inflater> {
        Box::new(Inflater::new())
    }

    pub(crate) fn put_inflater(inflater: Box<Inflater>) {
        drop(inflater);
    }

    pub(crate) fn take_deflater(settings: DeflaterSettings) -> Box<Deflater> {
        Box::new(Deflater::new(settings))
    }

    pub(crate) fn put_deflater(deflater: Box<Deflater>) {
        drop(deflater);
    }
}
