//! What a running server tells of itself: asked by the socket of its store, and taken apart.

use std::collections::HashMap;
use std::time::Duration;

use drave::codec::resp::value::Value;
use drave::server::{Heard, ask};
use drave::store::Store;

use super::Result;
use super::context::Context;
use super::exit::{Exit, Failure};

/// A server answers in milliseconds, also when it has much to do.
const LIMIT: Duration = Duration::from_secs(5);

/// Asks the store's server; `None` = there is none.
pub(crate) fn request(store: &Store, words: &[&str], password: Option<&[u8]>, context: &Context) -> Result<Option<Vec<u8>>> {
    let mut requests: Vec<Vec<&[u8]>> = Vec::new();
    requests.extend(password.map(|password| vec![&b"AUTH"[..], b"default", password]));
    requests.push(words.iter().map(|word| word.as_bytes()).collect());
    let place = || store.path().join("drave.sock").display().to_string();
    let replies = match ask(store, &requests, LIMIT, &context.job)? {
        Heard::Replies(replies) => replies,
        Heard::Nobody => return Ok(None),
        Heard::Silence => {
            let limit = LIMIT.as_secs();
            let sentence =
                format!("{}: the server has not answered in {limit} s; is it stopped, or has it too many clients?", place());
            return Err(Failure::new(Exit::Busy, sentence).into());
        }
        Heard::Nonsense(why) => {
            let sentence = format!("{}: what answers there does not speak the Redis protocol: {why}", place());
            return Err(Failure::new(Exit::Failed, sentence).into());
        }
    };
    for reply in replies {
        match reply {
            Value::Error(text) => return Err(refused(&place(), &String::from_utf8_lossy(&text))),
            Value::Bulk(bytes) => return Ok(Some(bytes)),
            _ => {}
        }
    }
    Err(Failure::new(Exit::Failed, format!("{}: the server's answer is of another kind than was expected", place())).into())
}

fn refused(place: &str, text: &str) -> anyhow::Error {
    let (exit, sentence) = match text.split(' ').next() {
        Some("NOAUTH") => (Exit::NotAllowed, "the server wants a password: --password-file, or DRAVE_PASSWORD".to_owned()),
        Some("WRONGPASS") => (Exit::NotAllowed, "the server has another password".to_owned()),
        _ => (Exit::Failed, format!("the server refuses: {text}")),
    };
    Failure::new(exit, format!("{place}: {sentence}")).into()
}

/// The text of INFO.
#[derive(Debug)]
pub(crate) struct Info(String);

/// One line `name:key=value,...` of a list.
#[derive(Debug)]
pub(crate) struct Item<'a> {
    /// What stands in the name behind the list's prefix.
    pub(crate) name: Vec<u8>,
    values: HashMap<&'a str, &'a str>,
}

impl Info {
    /// Asks for these sections; `None` = the store has no server.
    pub(crate) fn ask(store: &Store, sections: &[&str], password: Option<&[u8]>, context: &Context) -> Result<Option<Info>> {
        let words = [&["INFO"], sections].concat();
        let text = request(store, &words, password, context)?;
        Ok(text.map(|text| Info(String::from_utf8_lossy(&text).into_owned())))
    }

    fn lines(&self) -> impl Iterator<Item = (&str, &str)> {
        // Nothing behind the last colon has one; names of topics may.
        self.0.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.rsplit_once(':'))
    }

    /// The value of a line `name:value`; `None` when this server does not tell it.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.lines().find(|(own, _)| *own == name).map(|(_, value)| value)
    }

    /// The same, as a number.
    pub(crate) fn number(&self, name: &str) -> Option<f64> {
        self.text(name)?.parse().ok()
    }

    /// The same, as a whole number.
    pub(crate) fn count(&self, name: &str) -> Option<u64> {
        self.text(name)?.parse().ok()
    }

    /// The times, in microseconds, within which 50, 99 and 99.9 percent of something were done.
    pub(crate) fn percentiles(&self, name: &str) -> Option<[u64; 3]> {
        let line = Item::of(name, self.text(name)?);
        Some([line.count("p50")?, line.count("p99")?, line.count("p99.9")?])
    }

    /// The lines whose names begin like that.
    pub(crate) fn list<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = Item<'a>> {
        self.lines().filter_map(move |(name, values)| Some(Item::of(name.strip_prefix(prefix)?, values)))
    }
}

impl<'a> Item<'a> {
    fn of(name: &str, values: &'a str) -> Item<'a> {
        let values = values.split(',').filter_map(|pair| pair.split_once('=')).collect();
        Item { name: unescape(name), values }
    }

    pub(crate) fn count(&self, name: &str) -> Option<u64> {
        self.values.get(name)?.parse().ok()
    }

    pub(crate) fn number(&self, name: &str) -> Option<f64> {
        self.values.get(name)?.parse().ok()
    }
}

/// Undoes [`slice::escape_ascii`].
fn unescape(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        let Some((&kind, after)) = rest.split_first().filter(|_| byte == b'\\') else {
            bytes.push(byte);
            continue;
        };
        rest = after;
        let digits = rest.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        bytes.push(match (kind, digits.and_then(|digits| u8::from_str_radix(digits, 16).ok())) {
            (b'x', Some(byte)) => {
                rest = &rest[2..];
                byte
            }
            (b't', _) => b'\t',
            (b'n', _) => b'\n',
            (b'r', _) => b'\r',
            (other, _) => other,
        });
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_topics_may_be_anything() {
        let all: Vec<u8> = (0..=255).collect();
        let names = [&b"orders"[..], b"a:records=1,added=2", b"\\x41", b"# Server", &all];
        let mut text = "# Topics\r\n".to_owned();
        for name in names {
            text.push_str(&format!("topic_{}:records=7,rate=1.5\r\n", name.escape_ascii()));
        }
        let info = Info(text);
        let items: Vec<Item<'_>> = info.list("topic_").collect();
        assert_eq!(items.iter().map(|item| &item.name[..]).collect::<Vec<_>>(), names);
        assert!(items.iter().all(|item| item.count("records") == Some(7) && item.number("rate") == Some(1.5)));
        assert_eq!(items[0].count("none"), None);
    }

    #[test]
    fn values_are_found_by_name() {
        let info = Info("# Drave\r\nuptime_in_seconds:12\r\nsync_usec:p50=1,p99=20,p99.9=300\r\nold_usec:p50=1\r\n".to_owned());
        assert_eq!((info.count("uptime_in_seconds"), info.number("uptime_in_seconds")), (Some(12), Some(12.0)));
        assert_eq!((info.percentiles("sync_usec"), info.percentiles("old_usec")), (Some([1, 20, 300]), None));
        assert_eq!(info.text("uptime"), None);
    }
}
