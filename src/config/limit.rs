//! What limits how fast something may go.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use super::{bounded, unless_none};
use crate::ids::TopicName;
use crate::units::{self, Counted, Rate};

/// How fast something may go. The default is no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LimitSettings {
    /// Records.
    pub rate: Option<Rate>,
    /// Bytes of records, as they are stored without compression.
    pub rate_bytes: Option<Rate>,
    /// So many records at once; `None` = a second's worth.
    pub burst: Option<u64>,
    /// So many bytes at once; `None` = a second's worth.
    pub burst_bytes: Option<u64>,
    /// What makes the limit tighter while the load is high.
    pub adaptive: Adaptive,
}

impl LimitSettings {
    /// Whether it limits anything.
    #[must_use]
    pub fn is_limit(&self) -> bool {
        self.rate.is_some() || self.rate_bytes.is_some()
    }

    /// Why one of the settings, by its name, does nothing as the others are.
    #[must_use]
    pub fn idle_without(&self, name: &str) -> Option<&'static str> {
        match name {
            "burst" if self.burst.is_some() && self.rate.is_none() => {
                Some("a burst of records does nothing without a rate of records")
            }
            "burst-bytes" if self.burst_bytes.is_some() && self.rate_bytes.is_none() => {
                Some("a burst of bytes does nothing without a rate of bytes")
            }
            "adaptive" if self.adaptive != Adaptive::Off && !self.is_limit() => Some("adaptive does nothing without a rate"),
            _ => None,
        }
    }
}

/// What a limit is for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LimitOf {
    /// Everything that is published to the store.
    Global,
    /// What is published to one topic.
    Topic(TopicName),
    /// What is read under a name: a group's, or the one of `tail --as`. Without one: what is read by all who have none.
    Reader(Box<[u8]>),
}

impl LimitOf {
    /// Reads `global`, `topic:NAME` or `reader:NAME`.
    pub fn parse(text: &[u8]) -> Result<LimitOf, String> {
        if text == b"global" {
            return Ok(LimitOf::Global);
        }
        let too_long = |what| format!("a {what}'s name has 1 to {} bytes", TopicName::BYTES_MAX);
        if let Some(name) = text.strip_prefix(b"topic:") {
            return TopicName::new(name).map(LimitOf::Topic).ok_or_else(|| too_long("topic"));
        }
        match text.strip_prefix(b"reader:") {
            Some(name) if name.len() <= TopicName::BYTES_MAX => Ok(LimitOf::Reader(name.into())),
            Some(_) => Err(too_long("reader")),
            None => Err("a limit is for global, topic:NAME or reader:NAME".to_owned()),
        }
    }

    /// As it is written, byte for byte.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        match self {
            LimitOf::Global => b"global".to_vec(),
            LimitOf::Topic(name) => [b"topic:", name.as_bytes()].concat(),
            LimitOf::Reader(name) => [b"reader:", &name[..]].concat(),
        }
    }
}

impl fmt::Display for LimitOf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.to_bytes()))
    }
}

/// The load that a limit is to keep below its target.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Adaptive {
    /// The limit stays as it is set.
    #[default]
    Off,
    /// The slowest one of a hundred appends, without their syncs.
    Append(Duration),
    /// The slowest one of a hundred syncs.
    Sync(Duration),
    /// How many records the slowest group is behind.
    LagRecords(u64),
    /// How old the first record is that the slowest group has not settled.
    LagTime(Duration),
}

/// What `adaptive=on` stands for: a healthy disk syncs in a few ms.
const ADAPTIVE_ON: Adaptive = Adaptive::Sync(Duration::from_millis(100));

impl fmt::Display for Adaptive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Adaptive::Off => f.write_str("off"),
            Adaptive::Append(time) => write!(f, "append:{}", units::format_duration(*time)),
            Adaptive::Sync(time) => write!(f, "sync:{}", units::format_duration(*time)),
            Adaptive::LagRecords(count) => write!(f, "lag:{count}"),
            Adaptive::LagTime(time) => write!(f, "lag:{}", units::format_duration(*time)),
        }
    }
}

impl FromStr for Adaptive {
    type Err = String;

    fn from_str(text: &str) -> Result<Adaptive, String> {
        let time = |text: &str| match units::parse_duration(text)? {
            Duration::ZERO => Err("a target of nothing is never reached".to_owned()),
            time => Ok(time),
        };
        match text.split_once(':') {
            None if text == "off" => Ok(Adaptive::Off),
            None if text == "on" => Ok(ADAPTIVE_ON),
            Some(("append", target)) => time(target).map(Adaptive::Append),
            Some(("sync", target)) => time(target).map(Adaptive::Sync),
            Some(("lag", target)) => match target.parse() {
                Ok(0) => Err("a target of nothing is never reached".to_owned()),
                Ok(count) => Ok(Adaptive::LagRecords(count)),
                Err(_) => time(target).map(Adaptive::LagTime),
            },
            _ => Err(format!("'{text}' is none of off, on, append:DURATION, sync:DURATION, lag:RECORDS, lag:DURATION")),
        }
    }
}

/// Those of the settings that are a limit.
pub const LIMIT_SETTINGS: [&str; 5] = ["rate", "rate-bytes", "burst", "burst-bytes", "adaptive"];

pub(super) fn rate_of(text: &str, counted: Counted) -> Result<Option<Rate>, String> {
    unless_none(text, |text| match (Rate::parse(text)?, counted) {
        ((rate, of), wanted) if of == wanted => Ok(rate),
        (_, Counted::Records) => Err(format!("'{text}' is a rate of bytes, that is rate-bytes")),
        (_, Counted::Bytes) => Err(format!("'{text}' is a rate of records, that is rate; bytes have a unit, as 1000B/s")),
    })
}

pub(super) fn burst_of(text: &str, parse: impl Fn(&str) -> Result<u64, String>) -> Result<Option<u64>, String> {
    unless_none(text, |text| bounded(parse(text)?, 1..=units::RATE_COUNT_MAX, "1 to 10^15"))
}
