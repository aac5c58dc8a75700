//! The word `unsafe` may stand in `sockeye-proto/src/simd` alone.
//!
//! The compiler's `unsafe_code` lint says the same, but a crate can allow what the workspace denies; this scan
//! cannot be talked out of it. It reads tokens: comments, strings and names such as `unsafe_code` do not count.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use crate::context::Context;
use crate::tally::Tally;

/// The one place for `unsafe`: masking and ASCII scans with the instructions of the CPU at hand.
const ALLOWED: &str = "sockeye-proto/src/simd";

/// Scans every Rust file of the tree.
pub(crate) fn run(context: &Context) -> Result<Tally> {
    let mut files = Vec::new();
    rust_files(&context.root, &context.target, &mut files)?;
    let (mut found, mut allowed) = (0, 0);
    for path in &files {
        let source = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        let path = path.strip_prefix(&context.root).unwrap_or(path);
        for line in unsafe_lines(&source) {
            if path.starts_with(ALLOWED) {
                allowed += 1;
            } else {
                println!("FAILED: {}:{line}: `unsafe` outside {ALLOWED}", path.display());
                found += 1;
            }
        }
    }
    println!(
        "{} files: {found} times `unsafe` outside {ALLOWED}, {allowed} times inside",
        files.len()
    );
    Ok(Tally::one(found == 0))
}

/// The `.rs` files below `directory`, without build directories and hidden ones.
fn rust_files(directory: &Path, target: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(directory).with_context(|| format!("cannot list {}", directory.display()))? {
        let entry = entry?;
        let path = entry.path();
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if entry.file_type()?.is_dir() {
            if !name.starts_with('.') && name != "target" && name != "node_modules" && path != target {
                rust_files(&path, target, files)?;
            }
        } else if name.ends_with(".rs") {
            files.push(path);
        }
    }
    Ok(())
}

/// The numbers (from 1) of the lines with the keyword `unsafe`, once for each time it occurs.
fn unsafe_lines(source: &str) -> Vec<usize> {
    let mut found = Vec::new();
    let mut position = 0;
    while position < source.len() {
        let rest = &source[position..];
        let length = token(rest);
        if &rest[..length] == "unsafe" {
            found.push(source[..position].matches('\n').count() + 1);
        }
        position += length;
    }
    found
}

/// The length in bytes, at least 1, of the token that `rest` (not empty) begins with.
fn token(rest: &str) -> usize {
    let mut chars = rest.chars();
    let first = chars.next().unwrap_or(' ');
    if rest.starts_with("//") {
        return rest.find('\n').unwrap_or(rest.len());
    }
    if rest.starts_with("/*") {
        return block_comment(rest);
    }
    if first == '"' {
        return string(rest);
    }
    if first == '\'' {
        return character_or_lifetime(rest);
    }
    if first.is_alphabetic() || first == '_' {
        let length = rest
            .find(|c: char| !c.is_alphanumeric() && c != '_')
            .unwrap_or(rest.len());
        let (word, after) = rest.split_at(length);
        // Prefixed literals: r"…", r#"…"#, b"…", br"…", c"…", cr"…", b'…'. A raw identifier (r#unsafe) is a name.
        return match word {
            "r" | "br" | "cr" if after.starts_with(['"', '#']) => length + raw(after),
            "b" | "c" if after.starts_with('"') => length + string(after),
            "b" if after.starts_with('\'') => length + character_or_lifetime(after),
            _ => length,
        };
    }
    first.len_utf8()
}

/// `/* … */`, which nests.
fn block_comment(rest: &str) -> usize {
    let mut depth = 0;
    let mut position = 0;
    while position < rest.len() {
        let here = &rest.as_bytes()[position..];
        if here.starts_with(b"/*") {
            depth += 1;
            position += 2;
        } else if here.starts_with(b"*/") {
            depth -= 1;
            position += 2;
            if depth == 0 {
                return position;
            }
        } else {
            position += 1;
        }
    }
    rest.len()
}

/// `"…"` with escapes.
fn string(rest: &str) -> usize {
    let bytes = rest.as_bytes();
    let mut position = 1;
    while position < bytes.len() {
        match bytes[position] {
            b'\\' => position += 2,
            b'"' => return position + 1,
            _ => position += 1,
        }
    }
    rest.len()
}

/// What follows the `r` of a raw string or a raw identifier.
fn raw(after: &str) -> usize {
    let hashes = after.len() - after.trim_start_matches('#').len();
    let body = &after[hashes..];
    if !body.starts_with('"') {
        return body
            .find(|c: char| !c.is_alphanumeric() && c != '_')
            .map_or(after.len(), |end| hashes + end);
    }
    let end = format!("\"{}", "#".repeat(hashes));
    body[1..]
        .find(&end)
        .map_or(after.len(), |found| hashes + 1 + found + end.len())
}

/// `'x'` and `'\n'` are characters, `'static` is a lifetime.
fn character_or_lifetime(rest: &str) -> usize {
    let mut chars = rest[1..].chars();
    match (chars.next(), chars.next()) {
        // The escaped character may be a quote itself, so the end is looked for behind it.
        (Some('\\'), Some(escaped)) => {
            let from = 2 + escaped.len_utf8();
            rest[from..].find('\'').map_or(rest.len(), |end| from + end + 1)
        }
        (Some(c), Some('\'')) => 1 + c.len_utf8() + 1,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_keyword_is_found_with_its_line() {
        assert_eq!(
            unsafe_lines("fn a() {\n    unsafe { b() }\n}\nunsafe impl Send for C {}"),
            [2, 4]
        );
        assert_eq!(unsafe_lines("#[unsafe(no_mangle)]"), [1]);
    }

    #[test]
    fn names_comments_and_literals_do_not_count() {
        let source = r####"
            #![forbid(unsafe_code)]
            //! unsafe
            /* unsafe /* unsafe */ unsafe */
            let a = "unsafe \" unsafe"; let b = r#"unsafe " unsafe"#; let c = b"unsafe"; let d = c"unsafe";
            let r#unsafe = br##"unsafe"##;
            let not_unsafe = unsafe_op_in_unsafe_fn;
        "####;
        assert_eq!(unsafe_lines(source), [] as [usize; 0]);
    }

    #[test]
    fn characters_and_lifetimes_do_not_hide_what_follows() {
        assert_eq!(unsafe_lines(r#"let q = '"'; unsafe {}"#), [1]);
        assert_eq!(unsafe_lines(r"let q = '\''; unsafe {}"), [1]);
        assert_eq!(unsafe_lines(r"let q = b'\\'; unsafe {}"), [1]);
        assert_eq!(unsafe_lines("fn a<'a>(b: &'a str) { unsafe {} } // 'unsafe"), [1]);
        assert_eq!(unsafe_lines("'static; 'é'; '\u{2028}'; unsafe {}"), [1]);
        assert_eq!(unsafe_lines("/* a */unsafe{}"), [1]);
    }
}
