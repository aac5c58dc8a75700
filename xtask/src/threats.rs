//! `docs/threats.md` names a test for each row: they exist, where it says.

use std::path::Path;

#[test]
fn the_tests_that_are_named_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let page = std::fs::read_to_string(root.join("docs/threats.md")).unwrap();
    let mut named = 0;
    for row in page.lines().filter(|line| line.starts_with("| ")) {
        let mut source = String::new();
        // What stands in backticks: a file, and then tests of it.
        for quoted in row.split('`').skip(1).step_by(2) {
            if quoted.ends_with(".rs") {
                let folder = if quoted.starts_with("sockeye") {
                    ""
                } else {
                    "sockeye/tests"
                };
                source = std::fs::read_to_string(root.join(folder).join(quoted)).unwrap();
            } else if !source.is_empty() && quoted.contains('_') {
                assert!(
                    source.contains(&format!("fn {quoted}(")),
                    "{quoted} is not where {row} says"
                );
                named += 1;
            }
        }
    }
    assert!(named > 80, "{named} tests are named");
}
