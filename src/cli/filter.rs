//! Which records a reading verb shows.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt as _;

use clap::Args;
use clap::builder::{OsStringValueParser, TypedValueParser as _};
use drave::codec::Record;
use regex::bytes::Regex;

use super::escape;

/// What was typed.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Filters")]
pub(crate) struct FilterArgs {
    /// Only records with this key
    #[arg(short, long, value_name = "KEY")]
    key: Option<OsString>,

    /// Only records with this header; repeatable, all must be there
    #[arg(short = 'H', long, value_name = "NAME=VALUE", value_parser = OsStringValueParser::new().try_map(parse_header))]
    header: Vec<Header>,

    /// Only records whose value matches this regular expression
    ///
    /// The value is taken as bytes. ^ and $ are the ends of the value, (?m) makes them the ends of its
    /// lines; (?-u) matches bytes that are not UTF-8. A record without value never matches.
    #[arg(long, value_name = "REGEX", value_parser = parse_regex)]
    grep: Option<Regex>,
}

#[derive(Clone, Debug)]
struct Header {
    name: Vec<u8>,
    value: Vec<u8>,
}

fn parse_header(text: OsString) -> Result<Header, String> {
    let bytes = text.as_bytes();
    let equals =
        memchr::memchr(b'=', bytes).ok_or_else(|| format!("'{}' is not a header: write NAME=VALUE", escape::escape(bytes)))?;
    let (name, value) = (&bytes[..equals], &bytes[equals + 1..]);
    if name == b"key" || name == b"value" {
        return Err(format!("{} is not a header; use --key or --grep", escape::escape(name)));
    }
    Ok(Header { name: name.to_vec(), value: value.to_vec() })
}

fn parse_regex(text: &str) -> Result<Regex, String> {
    Regex::new(text).map_err(|error| error.to_string())
}

impl FilterArgs {
    /// What it means.
    pub(crate) fn resolve(self) -> Filter {
        Filter { key: self.key.map(|key| key.as_bytes().to_vec()), headers: self.header, grep: self.grep }
    }
}

/// A test that a record passes or not.
#[derive(Clone, Debug, Default)]
pub(crate) struct Filter {
    key: Option<Vec<u8>>,
    headers: Vec<Header>,
    grep: Option<Regex>,
}

impl Filter {
    /// Whether every record passes.
    pub(crate) fn is_open(&self) -> bool {
        self.key.is_none() && self.headers.is_empty() && self.grep.is_none()
    }

    /// Whether this record passes.
    pub(crate) fn accepts(&self, record: &Record<'_>) -> bool {
        self.key.as_deref().is_none_or(|key| record.key() == Some(key))
            && self.headers.iter().all(|wanted| {
                record.headers().any(|(name, value)| name == wanted.name.as_slice() && value == wanted.value.as_slice())
            })
            && self.grep.as_ref().is_none_or(|regex| record.value().is_some_and(|value| regex.is_match(value)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::testing::with_record;

    fn filter(key: Option<&str>, headers: &[&str], grep: Option<&str>) -> Filter {
        let header = headers.iter().map(|text| parse_header(text.into()).expect("a header")).collect();
        FilterArgs { key: key.map(OsString::from), header, grep: grep.map(|text| parse_regex(text).expect("a regex")) }.resolve()
    }

    #[test]
    fn all_that_is_asked_for_must_hold() {
        with_record(&[(b"key", b"k"), (b"value", b"an \xff apple"), (b"a", b"1"), (b"a", b"2")], false, |record| {
            assert!(filter(None, &[], None).is_open());
            assert!(filter(None, &[], None).accepts(record));
            assert!(filter(Some("k"), &["a=1", "a=2"], Some("app")).accepts(record));
            assert!(!filter(Some("x"), &["a=1"], Some("app")).accepts(record));
            assert!(!filter(Some("k"), &["a=3"], Some("app")).accepts(record));
            assert!(!filter(Some("k"), &["a=1"], Some("^app")).accepts(record));
            assert!(filter(None, &[], Some(r"(?-u)\xff")).accepts(record));
        });
    }

    #[test]
    fn what_is_absent_matches_nothing() {
        with_record(&[(b"user", b"7")], false, |record| {
            assert!(!filter(Some(""), &[], None).accepts(record));
            assert!(!filter(None, &[], Some("")).accepts(record));
            assert!(filter(None, &["user=7"], None).accepts(record));
        });
        with_record(&[(b"key", b"k")], true, |record| {
            assert!(filter(Some("k"), &[], None).accepts(record));
            assert!(!filter(None, &[], Some("")).accepts(record));
        });
    }

    fn header(text: &str) -> Result<Header, String> {
        parse_header(text.into())
    }

    #[test]
    fn a_header_is_a_name_and_a_value() {
        assert!(header("novalue").is_err());
        assert!(header("key=1").is_err());
        assert_eq!(header("a=b=c").expect("a header").value, b"b=c");
        assert_eq!(header("=v").expect("a header").name, b"");
    }
}
