//! Codecs that connections borrow for the length of one message.
//!
//! Without context takeover a codec carries nothing from one message to the next, so a connection need not own one:
//! with `std` each thread keeps a few, and an idle connection holds none. Without `std` there are no thread locals;
//! a codec is then made for each message.

use alloc::boxed::Box;

use crate::connection::Role;
use crate::deflate::codec::{Deflater, Inflater};
use crate::deflate::encode::Encoder;
use crate::deflate::{DeflateOptions, DeflateParams};

#[cfg(not(feature = "std"))]
use self::fresh as pool;
#[cfg(feature = "std")]
use self::thread as pool;

/// An inflater that has seen nothing. `agreed` shows that there is something to inflate.
pub(crate) fn take_inflater(_agreed: DeflateParams) -> Box<Inflater> {
    pool::take_inflater()
}

/// Gives back an inflater that need not remember.
pub(crate) fn put_inflater(inflater: Box<Inflater>) {
    pool::put_inflater(inflater);
}

/// A compressor that has seen nothing, for the messages that `role` sends.
pub(crate) fn take_deflater(agreed: DeflateParams, role: Role, options: &DeflateOptions) -> Box<Deflater> {
    pool::take_deflater(options.settings(agreed.own_window_bits(role)))
}

/// A compressor of whole messages, for those that `role` sends.
pub(crate) fn take_encoder(agreed: DeflateParams, role: Role, options: &DeflateOptions) -> Box<Encoder> {
    pool::take_encoder(options.settings(agreed.own_window_bits(role)))
}

/// A compressor of whole messages, for one that goes to many connections.
pub(crate) fn take_shared_encoder(options: &DeflateOptions) -> Box<Encoder> {
    pool::take_encoder(options.settings(options.own_max_window_bits()))
}

/// Gives back a compressor of whole messages.
pub(crate) fn put_encoder(encoder: Box<Encoder>) {
    pool::put_encoder(encoder);
}

/// Gives back a compressor that need not remember.
pub(crate) fn put_deflater(deflater: Box<Deflater>) {
    pool::put_deflater(deflater);
}

#[cfg(feature = "std")]
mod thread {
    use core::cell::RefCell;
    use std::thread_local;

    use alloc::boxed::Box;
    use alloc::vec::Vec;

    use crate::deflate::DeflaterSettings;
    use crate::deflate::codec::{Deflater, Inflater};
    use crate::deflate::encode::Encoder;

    pub(super) fn take_inflater() -> Box<Inflater> {
        with(|pool| pool.inflaters.pop())
            .flatten()
            .unwrap_or_else(|| Box::new(Inflater::new()))
    }

    pub(super) fn put_inflater(mut inflater: Box<Inflater>) {
        with(|pool| {
            if pool.inflaters.len() < KEPT {
                inflater.reset();
                pool.inflaters.push(inflater);
            }
        });
    }

    pub(super) fn take_deflater(settings: DeflaterSettings) -> Box<Deflater> {
        with(|pool| {
            let mut kept = pool.deflaters.iter();
            let at = kept.rposition(|deflater| deflater.settings() == settings)?;
            Some(pool.deflaters.swap_remove(at))
        })
        .flatten()
        .unwrap_or_else(|| Box::new(Deflater::new(settings)))
    }

    pub(super) fn put_deflater(mut deflater: Box<Deflater>) {
        with(|pool| {
            deflater.reset();
            if pool.deflaters.len() == KEPT {
                pool.deflaters.remove(0);
            }
            pool.deflaters.push(deflater);
        });
    }

    pub(super) fn take_encoder(settings: DeflaterSettings) -> Box<Encoder> {
        with(|pool| {
            let mut kept = pool.encoders.iter();
            let at = kept.rposition(|encoder| encoder.fits(settings))?;
            Some(pool.encoders.swap_remove(at))
        })
        .flatten()
        .unwrap_or_else(|| Box::new(Encoder::new(settings)))
    }

    pub(super) fn put_encoder(mut encoder: Box<Encoder>) {
        with(|pool| {
            encoder.shrink();
            if pool.encoders.len() == KEPT {
                pool.encoders.remove(0);
            }
            pool.encoders.push(encoder);
        });
    }

    #[allow(clippy::vec_box, reason = "connections hold them in boxes, and so they come and go")]
    #[derive(Default)]
    struct Pool {
        inflaters: Vec<Box<Inflater>>,
        deflaters: Vec<Box<Deflater>>,
        encoders: Vec<Box<Encoder>>,
    }

    thread_local! {
        static POOL: RefCell<Pool> = RefCell::default();
    }

    /// `None` while the thread ends and its pool is gone.
    fn with<T>(work: impl FnOnce(&mut Pool) -> T) -> Option<T> {
        POOL.try_with(|pool| work(&mut pool.borrow_mut())).ok()
    }

    /// How many codecs of each kind a thread keeps: at most 248 KiB of inflaters and, with their output, 692 KiB of encoders
    /// of whole messages. Compressors that are streams, 1.8 MiB at the default settings, come in for fragments alone.
    const KEPT: usize = 4;
}

#[cfg(not(feature = "std"))]
mod fresh {
    use alloc::boxed::Box;

    use crate::deflate::DeflaterSettings;
    use crate::deflate::codec::{Deflater, Inflater};
    use crate::deflate::encode::Encoder;

    pub(super) fn take_inflater() -> Box<Inflater> {
        Box::new(Inflater::new())
    }

    pub(super) fn put_inflater(inflater: Box<Inflater>) {
        drop(inflater);
    }

    pub(super) fn take_deflater(settings: DeflaterSettings) -> Box<Deflater> {
        Box::new(Deflater::new(settings))
    }

    pub(super) fn put_deflater(deflater: Box<Deflater>) {
        drop(deflater);
    }

    pub(super) fn take_encoder(settings: DeflaterSettings) -> Box<Encoder> {
        Box::new(Encoder::new(settings))
    }

    pub(super) fn put_encoder(encoder: Box<Encoder>) {
        drop(encoder);
    }
}
