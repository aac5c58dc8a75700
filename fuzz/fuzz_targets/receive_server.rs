//! Any bytes from a client to a server (RFC 6455 §5 to §8, RFC 7692 §6); see `sockeye_fuzz::check`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sockeye_proto::connection::Role;

fuzz_target!(|input: &[u8]| sockeye_fuzz::check(Role::Server, input));
