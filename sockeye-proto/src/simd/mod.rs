//! The one place with `unsafe`: what the CPU does faster, and text whose validity its type remembers.
//!
//! Each path that depends on the CPU stands beside a safe twin, which every other target runs and which the tests
//! compare it with. With the feature `std` the CPU is asked at run time, once; without it, what the compiler was
//! told of the target decides.
#![allow(unsafe_code)]

pub(crate) mod mask;
pub(crate) mod text;
