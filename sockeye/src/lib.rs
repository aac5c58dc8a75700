//! sockeye
#![forbid(unsafe_code)]
