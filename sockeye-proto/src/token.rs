//! Tokens and comma-separated lists, the grammar that header values of the handshake share.
//!
//! RFC 9110 §5.6 (tokens, lists, optional whitespace). Every function walks its input once. What stands inside
//! quotes is read by [`crate::extension`], the only header of the handshake that allows quotes.

/// Whether `byte` may stand in a token.
pub(crate) const fn is_token_byte(byte: u8) -> bool {
    // RFC 9110 §5.6.2: "tchar = "!" / "#" / "$" / "%" / "&" / "'" / "*" / "+" / "-" / "." / "^" / "_" / "`" /
    // "|" / "~" / DIGIT / ALPHA".
    matches!(
        byte,
        b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+' | b'-' | b'.' | b'^' | b'_' | b'`' | b'|' | b'~'
    ) || byte.is_ascii_alphanumeric()
}

/// Whether `bytes` is a token: at least one byte, each allowed.
pub(crate) fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().all(|&byte| is_token_byte(byte))
}

/// `bytes` as text if it is a token, which is ASCII by its grammar.
pub(crate) fn as_token(bytes: &[u8]) -> Option<&str> {
    if is_token(bytes) {
        core::str::from_utf8(bytes).ok()
    } else {
        None
    }
}

/// Whether `byte` is whitespace within a header line: a space or a tab.
pub(crate) const fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

/// `bytes` without the optional whitespace around it.
pub(crate) fn trim(bytes: &[u8]) -> &[u8] {
    let Some(start) = bytes.iter().position(|&byte| !is_space(byte)) else {
        return &[];
    };
    let end = bytes
        .iter()
        .rposition(|&byte| !is_space(byte))
        .map_or(start, |last| last + 1);
    &bytes[start..end]
}

/// The elements of a list that knows no quotes, in order.
pub(crate) fn elements(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    // RFC 9110 §5.6.1.2: "A recipient MUST parse and ignore a reasonable number of empty list elements". The
    // limit on the length of a header is the limit on their number.
    value
        .split(|&byte| byte == b',')
        .map(trim)
        .filter(|element| !element.is_empty())
}

/// Whether one of the lists in `values` holds `token`, in any case.
pub(crate) fn contains<'a>(mut values: impl Iterator<Item = &'a [u8]>, token: &str) -> bool {
    values.any(|value| elements(value).any(|element| element.eq_ignore_ascii_case(token.as_bytes())))
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;

    #[test]
    fn lists_lose_their_whitespace_and_empty_elements() {
        let found: Vec<&[u8]> = elements(b" ,a ,\t b c\t,,d").collect();
        assert_eq!(found, [b"a".as_slice(), b"b c", b"d"]);
        assert_eq!(elements(b" , ,").count(), 0);
    }

    #[test]
    fn only_whole_tokens_are_contained() {
        let lists = [b"keep-alive, Upgrade".as_slice()];
        assert!(contains(lists.into_iter(), "upgrade"));
        assert!(!contains(
            [b"notupgrade".as_slice(), b"up grade"].into_iter(),
            "upgrade"
        ));
    }

    #[test]
    fn a_token_is_not_empty_and_has_no_separators() {
        assert_eq!(as_token(b"chat.v1"), Some("chat.v1"));
        for bad in [b"".as_slice(), b"a b", b"a,b", b"a\"", b"a\0", "é".as_bytes()] {
            assert_eq!(as_token(bad), None);
        }
    }
}
