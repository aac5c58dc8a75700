//! The grammar of `Sec-WebSocket-Extensions` (RFC 6455 §9.1).

use sockeye_proto::extension::{self, Extension, ExtensionError, MAX_EXTENSIONS, MAX_PARAMETERS, NotToken, Parameter};

fn read(value: &str) -> Result<Vec<Extension<'_>>, ExtensionError> {
    extension::parse([value.as_bytes()])
}

#[track_caller]
fn normal(value: &str) -> String {
    let mut out = String::new();
    extension::write(&read(value).unwrap(), &mut out).unwrap();
    out
}

#[test]
fn h6_what_no_header_can_hold_is_not_written() {
    let parameter = |name, value: &str| Parameter {
        name,
        value: Some(value.to_owned().into()),
    };
    for (name, parameters) in [
        ("a\r\nSet-Cookie: x", vec![]),
        ("", vec![]),
        ("a", vec![parameter("b\n", "c")]),
        ("a", vec![parameter("b", "c d")]),
    ] {
        let mut out = String::new();
        let list = [Extension { name, parameters }];
        assert_eq!(extension::write(&list, &mut out), Err(NotToken));
        assert_eq!(out, "");
    }
}

#[test]
fn lists_parameters_and_quoted_strings() {
    for (value, expected) in [
        ("", ""),
        (" , ,", ""),
        ("a", "a"),
        ("a,b", "a, b"),
        (", a ,,\tb ,", "a, b"),
        ("a;b", "a; b"),
        (" a ; b ; c = d ;e=\"f\"", "a; b; c=d; e=f"),
        ("a; b=\"\\c\\\"\"", "!"),
        ("a; b=\"\\c\\d\", e", "a; b=cd, e"),
        ("a; b=1; b=1", "a; b=1; b=1"),
        ("!#$%&'*+-.^_`|~; x", "!#$%&'*+-.^_`|~; x"),
    ] {
        if expected == "!" {
            assert_eq!(read(value), Err(ExtensionError::QuotedValueNotToken), "{value}");
        } else {
            assert_eq!(normal(value), expected, "{value}");
            assert_eq!(normal(expected), expected);
        }
    }
}

#[test]
fn what_the_grammar_does_not_allow() {
    for (value, error) in [
        ("a b", ExtensionError::UnexpectedByte(b'b')),
        ("a;", ExtensionError::UnexpectedEnd),
        ("a;;b", ExtensionError::UnexpectedByte(b';')),
        ("a;,b", ExtensionError::UnexpectedByte(b',')),
        (";a", ExtensionError::UnexpectedByte(b';')),
        ("a;b=", ExtensionError::UnexpectedEnd),
        ("a;b==c", ExtensionError::UnexpectedByte(b'=')),
        ("a=b", ExtensionError::UnexpectedByte(b'=')),
        ("a;b=c d", ExtensionError::UnexpectedByte(b'd')),
        ("\"a\"", ExtensionError::UnexpectedByte(b'"')),
        ("a;\"b\"", ExtensionError::UnexpectedByte(b'"')),
        ("a;b=\"c", ExtensionError::UnexpectedEnd),
        ("a;b=\"c\\", ExtensionError::UnexpectedEnd),
        ("a;b=\"c\\\"", ExtensionError::QuotedValueNotToken),
        ("a;b=\"\"", ExtensionError::QuotedValueNotToken),
        ("a;b=\"c d\"", ExtensionError::QuotedValueNotToken),
        ("a;b=\"c,d\"", ExtensionError::QuotedValueNotToken),
        ("a;b=\"c\"d", ExtensionError::UnexpectedByte(b'd')),
        ("a;b=\"c\\\u{e9}\"", ExtensionError::QuotedValueNotToken),
        ("\u{e9}", ExtensionError::UnexpectedByte(0xc3)),
        ("a\0", ExtensionError::UnexpectedByte(0)),
    ] {
        assert_eq!(read(value), Err(error), "{value}");
    }
}

#[test]
fn several_headers_are_one_list() {
    let list = extension::parse([b"a; b=1".as_slice(), b"", b" c "]).unwrap();
    let expected = [
        Extension {
            name: "a",
            parameters: vec![Parameter::with_value("b", "1")],
        },
        Extension {
            name: "c",
            parameters: vec![],
        },
    ];
    assert_eq!(list, expected);
}

#[test]
fn the_number_of_extensions_and_parameters_is_limited() {
    let list = |count| vec!["a"; count].join(",");
    assert_eq!(read(&list(MAX_EXTENSIONS)).unwrap().len(), MAX_EXTENSIONS);
    assert_eq!(read(&list(MAX_EXTENSIONS + 1)), Err(ExtensionError::TooManyExtensions));
    let split = vec![b"a".as_slice(); MAX_EXTENSIONS + 1];
    assert_eq!(extension::parse(split), Err(ExtensionError::TooManyExtensions));
    let parameters = |count| format!("a{}", ";b".repeat(count));
    assert!(read(&parameters(MAX_PARAMETERS)).is_ok());
    assert_eq!(
        read(&parameters(MAX_PARAMETERS + 1)),
        Err(ExtensionError::TooManyParameters)
    );
}
