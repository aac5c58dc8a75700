//! `extension::parse` on any header values (RFC 6455 §9.1).
//!
//! The input is one value a line, as when a header occurs several times. What is accepted must keep to the limits
//! and survive being written and read again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sockeye_proto::extension::{self, MAX_EXTENSIONS, MAX_PARAMETERS};

fuzz_target!(|input: &[u8]| {
    let Ok(list) = extension::parse(input.split(|&byte| byte == b'\n')) else {
        return;
    };
    assert!(list.len() <= MAX_EXTENSIONS);
    assert!(
        list.iter()
            .all(|extension| extension.parameters.len() <= MAX_PARAMETERS)
    );
    let mut written = String::new();
    extension::write(&list, &mut written).expect("what was read can be written");
    assert_eq!(extension::parse([written.as_bytes()]), Ok(list));
});
