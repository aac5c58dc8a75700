//! What stands in for permessage-deflate without the feature `deflate`: types that have no value, so that the
//! connection is written once and the compiler leaves out what cannot happen.

use alloc::boxed::Box;

use crate::connection::Role;
use crate::deflate::DeflateOptions;
use crate::error::ProtocolError;

/// What both endpoints agreed on. Without the feature `deflate` that is never anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DeflateParams {}

impl DeflateParams {
    pub(crate) fn own_context_takeover(self, _role: Role) -> bool {
        match self {}
    }

    pub(crate) fn peer_context_takeover(self, _role: Role) -> bool {
        match self {}
    }

    pub(crate) fn own_window_bits(self, _role: Role) -> u8 {
        match self {}
    }
}

#[derive(Debug)]
pub(crate) enum Inflater {}

impl Inflater {
    pub(crate) fn inflate_whole(&mut self, _payload: &[u8]) -> Option<Inflated> {
        match *self {}
    }

    pub(crate) fn inflate(&mut self, _input: &[u8]) -> Result<Inflated, ProtocolError> {
        match *self {}
    }

    pub(crate) fn finish(&mut self) -> Result<Inflated, ProtocolError> {
        match *self {}
    }

    pub(crate) fn output(&self, _written: usize) -> &[u8] {
        match *self {}
    }
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Inflated {
    pub(crate) read: usize,
    pub(crate) written: usize,
    pub(crate) more: bool,
}

#[derive(Debug)]
pub(crate) enum Deflater {}

impl Deflater {
    pub(crate) fn compress(&mut self, _payload: &[u8], _last: bool) -> &[u8] {
        match *self {}
    }

    pub(crate) fn shrink(&mut self) {
        match *self {}
    }
}

pub(crate) fn take_inflater(agreed: DeflateParams) -> Box<Inflater> {
    match agreed {}
}

pub(crate) fn put_inflater(inflater: Box<Inflater>) {
    drop(inflater);
}

pub(crate) fn take_deflater(agreed: DeflateParams, _role: Role, _options: &DeflateOptions) -> Box<Deflater> {
    match agreed {}
}

pub(crate) fn put_deflater(deflater: Box<Deflater>) {
    drop(deflater);
}

#[derive(Debug)]
pub(crate) enum Encoder {}

impl Encoder {
    pub(crate) fn compress(&mut self, _message: &[u8]) -> &[u8] {
        match *self {}
    }
}

pub(crate) fn take_encoder(agreed: DeflateParams, _role: Role, _options: &DeflateOptions) -> Box<Encoder> {
    match agreed {}
}

pub(crate) fn put_encoder(encoder: Box<Encoder>) {
    drop(encoder);
}
