//! Cookies of a request (RFC 6265 §4.2), in which sites often say who a browser's user is.
//!
//! Browsers send them with every WebSocket handshake, whatever page asked for it: a server that trusts them relies on the
//! [Origin policy](crate::handshake::OriginPolicy). Nothing is decoded; what cookies mean is the site's own business.

use sockeye_proto::handshake::Headers;

/// The name and value of each cookie, in order. What is not of that form, or no text, is left out.
pub(super) fn cookies(headers: &Headers) -> impl Iterator<Item = (&str, &str)> {
    headers
        .values("Cookie")
        .filter_map(|value| std::str::from_utf8(value).ok())
        // RFC 6265 §4.2.1: `cookie-string = cookie-pair *( ";" SP cookie-pair )`.
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| {
            let (name, value) = pair.split_once('=')?;
            let (name, value) = (name.trim_matches(WHITESPACE), value.trim_matches(WHITESPACE));
            (!name.is_empty()).then_some((name, unquoted(value)))
        })
}

/// RFC 6265 §4.1.1: `cookie-value = *cookie-octet / ( DQUOTE *cookie-octet DQUOTE )`.
fn unquoted(value: &str) -> &str {
    value
        .strip_prefix('"')
        .and_then(|value| value.strip_suffix('"'))
        .unwrap_or(value)
}

const WHITESPACE: [char; 2] = [' ', '\t'];

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(values: &[&str]) -> Vec<(String, String)> {
        let mut headers = Headers::new();
        for value in values {
            headers.append("cookie", value).unwrap();
        }
        cookies(&headers)
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect()
    }

    fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
        expected
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect()
    }

    #[test]
    fn pairs_in_order_over_all_headers() {
        let expected = pairs(&[("a", "1"), ("b", "2=3"), ("a", "4")]);
        assert_eq!(parsed(&["a=1; b=2=3", "a=4"]), expected);
    }

    #[test]
    fn quotes_belong_to_the_form() {
        let expected = pairs(&[("a", "x y"), ("b", "\"open"), ("c", "\"")]);
        assert_eq!(parsed(&["a=\"x y\";b=\"open; c=\""]), expected);
    }

    #[test]
    fn what_is_no_pair_is_left_out() {
        assert_eq!(parsed(&["; =x; alone;;a=;  b = 2 "]), pairs(&[("a", ""), ("b", "2")]));
        assert!(parsed(&[]).is_empty());
        let mut headers = Headers::new();
        headers.append("Cookie", [b'a', b'=', 0xff]).unwrap();
        assert_eq!(cookies(&headers).count(), 0);
    }
}
