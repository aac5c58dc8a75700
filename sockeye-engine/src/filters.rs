//! Names of topics and the filters that match them, by segments as in MQTT: `+` stands for one segment, `#` at the end for
//! all that follow, its parent included (MQTT 5.0 §4.7).

use std::collections::HashMap;
use std::fmt;

/// Why a topic's name or filter is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TopicError {
    /// It is empty.
    Empty,
    /// It is longer than 1,024 bytes.
    TooLong,
    /// `+` or `#` in the name of a topic that is published to.
    Wildcard,
    /// `+` or `#` beside other characters in a segment, or `#` before the end.
    Misplaced,
    /// The connection has as many subscriptions as it may.
    TooMany,
}

impl fmt::Display for TopicError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "a topic has a name",
            Self::TooLong => "a topic's name has at most 1024 bytes",
            Self::Wildcard => "only a filter may have a wildcard, `+` or `#`",
            Self::Misplaced => "a wildcard is a segment by itself, and `#` the last",
            Self::TooMany => "the connection has as many subscriptions as it may",
        })
    }
}

impl std::error::Error for TopicError {}

/// The longest name of a topic, in bytes.
const LONGEST: usize = 1024;

/// Checks the name of a topic that is published to.
pub(crate) fn check_name(name: &str) -> Result<(), TopicError> {
    check_length(name)?;
    match name.contains(['+', '#']) {
        true => Err(TopicError::Wildcard),
        false => Ok(()),
    }
}

/// Checks what is subscribed to. Answers whether it has wildcards.
pub(crate) fn check_filter(filter: &str) -> Result<bool, TopicError> {
    check_length(filter)?;
    let mut wild = false;
    let mut ended = false;
    for segment in filter.split('/') {
        if ended || (segment.contains(['+', '#']) && segment.len() > 1) {
            return Err(TopicError::Misplaced);
        }
        wild |= matches!(segment, "+" | "#");
        ended = segment == "#";
    }
    Ok(wild)
}

fn check_length(name: &str) -> Result<(), TopicError> {
    match name.len() {
        0 => Err(TopicError::Empty),
        length if length > LONGEST => Err(TopicError::TooLong),
        _ => Ok(()),
    }
}

/// Values by filter, found by name.
#[derive(Debug)]
pub(crate) struct Filters<V> {
    exact: HashMap<Box<str>, V>,
    wild: Node<V>,
    wildcards: usize,
}

#[derive(Debug)]
struct Node<V> {
    /// That of the filter that ends here.
    value: Option<V>,
    /// That of the filter that goes on with `#`.
    rest: Option<V>,
    /// By the next segment, `+` among them.
    next: HashMap<Box<str>, Self>,
}

impl<V> Default for Node<V> {
    fn default() -> Self {
        Self {
            value: None,
            rest: None,
            next: HashMap::new(),
        }
    }
}

impl<V> Default for Filters<V> {
    fn default() -> Self {
        Self {
            exact: HashMap::new(),
            wild: Node::default(),
            wildcards: 0,
        }
    }
}

impl<V> Filters<V> {
    pub(crate) fn get(&self, filter: &str) -> Option<&V> {
        if !filter.contains(['+', '#']) {
            return self.exact.get(filter);
        }
        let mut node = &self.wild;
        for segment in filter.split('/') {
            if segment == "#" {
                return node.rest.as_ref();
            }
            node = node.next.get(segment)?;
        }
        node.value.as_ref()
    }

    pub(crate) fn insert(&mut self, filter: &str, value: V) {
        if !filter.contains(['+', '#']) {
            self.exact.insert(filter.into(), value);
            return;
        }
        let mut node = &mut self.wild;
        for segment in filter.split('/') {
            if segment == "#" {
                self.wildcards += usize::from(node.rest.replace(value).is_none());
                return;
            }
            node = node.next.entry(segment.into()).or_default();
        }
        self.wildcards += usize::from(node.value.replace(value).is_none());
    }

    pub(crate) fn remove(&mut self, filter: &str) {
        if !filter.contains(['+', '#']) {
            self.exact.remove(filter);
        } else if self.wild.remove(filter) {
            self.wildcards -= 1;
        }
    }

    /// Shows `found` the value of each filter that matches the name.
    #[inline]
    pub(crate) fn find<'a>(&'a self, name: &str, found: &mut impl FnMut(&'a V)) {
        if let Some(value) = self.exact.get(name) {
            found(value);
        }
        if self.wildcards > 0 {
            self.wild.find(Some(name), true, found);
        }
    }

    pub(crate) fn matches(&self, name: &str) -> bool {
        let mut any = false;
        self.find(name, &mut |_| any = true);
        any
    }
}

impl<V> Node<V> {
    fn find<'a>(&'a self, name: Option<&str>, first: bool, found: &mut impl FnMut(&'a V)) {
        let Some(name) = name else {
            // "sport/#" also matches "sport", since # includes the parent level (MQTT 5.0 §4.7.1.2).
            self.value.iter().chain(&self.rest).for_each(found);
            return;
        };
        let (segment, rest) = match name.split_once('/') {
            Some((segment, rest)) => (segment, Some(rest)),
            None => (name, None),
        };
        // A server "MUST NOT match Topic Filters starting with a wildcard character (# or +) with Topic Names beginning
        // with a $ character" (MQTT 5.0 §4.7.2).
        let wild = !(first && segment.starts_with('$'));
        if wild {
            self.rest.iter().for_each(&mut *found);
        }
        if let Some(next) = self.next.get(segment) {
            next.find(rest, false, found);
        }
        if let Some(next) = self.next.get("+").filter(|_| wild) {
            next.find(rest, false, found);
        }
    }

    /// Removes a filter with the nodes that stood for it alone; answers whether it was there.
    fn remove(&mut self, filter: &str) -> bool {
        let (segment, rest) = match filter.split_once('/') {
            Some((segment, rest)) => (segment, Some(rest)),
            None => (filter, None),
        };
        if segment == "#" {
            return self.rest.take().is_some();
        }
        let Some(next) = self.next.get_mut(segment) else {
            return false;
        };
        let removed = match rest {
            Some(rest) => next.remove(rest),
            None => next.value.take().is_some(),
        };
        if next.value.is_none() && next.rest.is_none() && next.next.is_empty() {
            self.next.remove(segment);
        }
        removed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(filters: &[&str], name: &str) -> Vec<String> {
        let mut all = Filters::default();
        for filter in filters {
            all.insert(filter, (*filter).to_owned());
            assert_eq!(all.get(filter).map(String::as_str), Some(*filter));
        }
        let mut found = Vec::new();
        all.find(name, &mut |filter| found.push(filter.clone()));
        assert_eq!(all.matches(name), !found.is_empty());
        for filter in filters {
            all.remove(filter);
            assert!(all.get(filter).is_none());
        }
        assert!(all.exact.is_empty() && all.wild.next.is_empty() && all.wildcards == 0);
        found.sort_unstable();
        found
    }

    #[test]
    fn filters_match_as_in_mqtt() {
        // The examples of MQTT 5.0 §4.7.1 and §4.7.2, and their neighbours.
        let cases: [(&str, &[&str], &[&str]); 7] = [
            (
                "sport/tennis/player1/#",
                &[
                    "sport/tennis/player1",
                    "sport/tennis/player1/ranking",
                    "sport/tennis/player1/score/wimbledon",
                ],
                &["sport/tennis", "sport/tennis/player10"],
            ),
            ("sport/#", &["sport", "sport/", "sport/a"], &["sports", ""]),
            ("#", &["a", "a/b", "/"], &["$SYS", "$SYS/a"]),
            (
                "sport/tennis/+",
                &["sport/tennis/player1", "sport/tennis/"],
                &["sport/tennis", "sport/tennis/a/b"],
            ),
            ("+/+", &["/finance", "a/b"], &["a", "a/b/c", "$SYS/a"]),
            (
                "+/monitor/#",
                &["a/monitor", "a/monitor/b"],
                &["$SYS/monitor/b", "monitor"],
            ),
            ("$SYS/#", &["$SYS", "$SYS/a"], &["a", "$SYSTEM"]),
        ];
        for (filter, matching, others) in cases {
            assert_eq!(check_filter(filter), Ok(true));
            for name in matching {
                assert_eq!(found(&[filter], name), [filter], "{filter} {name}");
            }
            for name in others {
                assert!(found(&[filter], name).is_empty(), "{filter} {name}");
            }
        }
    }

    #[test]
    fn all_that_match_are_found_each_once() {
        let filters = ["a/b", "a/+", "+/b", "#", "a/#", "a/b/#", "a/c", "+/+/+"];
        assert_eq!(found(&filters, "a/b"), ["#", "+/b", "a/#", "a/+", "a/b", "a/b/#"]);
    }

    #[test]
    fn what_is_no_name_or_filter_is_told() {
        assert_eq!(check_name("a/b"), Ok(()));
        assert_eq!(check_name(""), Err(TopicError::Empty));
        assert_eq!(check_name("a/+"), Err(TopicError::Wildcard));
        assert_eq!(check_name(&"a".repeat(1025)), Err(TopicError::TooLong));
        assert_eq!(check_filter("a/b"), Ok(false));
        assert_eq!(check_filter(""), Err(TopicError::Empty));
        for filter in ["a+", "a/b#", "#/a", "a/#/b", "++", "##"] {
            assert_eq!(check_filter(filter), Err(TopicError::Misplaced), "{filter}");
        }
    }
}
