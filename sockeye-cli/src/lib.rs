//! sockeye-cli
#![forbid(unsafe_code)]
