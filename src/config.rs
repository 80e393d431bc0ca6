//! What can be set, its values and its defaults. One table serves `topic create`, `topic set`,
//! `topic.toml`, `store.toml` and every listing.

mod limit;

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::ids::{RecordId, TimestampMs};
use crate::units::{self, Counted, Rate};
pub use limit::{Adaptive, LIMIT_SETTINGS, LimitOf, LimitSettings};
use limit::{burst_of, rate_of};

/// What must have happened before a record counts as stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Durability {
    /// Written to the operating system: survives `kill -9`, claims nothing about power.
    None,
    /// As `none`, and synced within the flush interval while the publisher lives.
    Async,
    /// Synced to the disk: survives power loss.
    Sync,
}

impl Durability {
    /// The word users write.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Durability::None => "none",
            Durability::Async => "async",
            Durability::Sync => "sync",
        }
    }
}

impl fmt::Display for Durability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Durability {
    type Err = String;

    fn from_str(text: &str) -> Result<Durability, String> {
        match text {
            "none" => Ok(Durability::None),
            "async" => Ok(Durability::Async),
            "sync" => Ok(Durability::Sync),
            _ => Err(format!("'{text}' is not a durability level: none, async, sync")),
        }
    }
}

/// How the body of a frame is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// As it is.
    None,
    /// zstd at this level, 1..=19. A body that would not shrink is stored as it is.
    Zstd(i32),
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Compression::None => f.write_str("none"),
            Compression::Zstd(level) => write!(f, "zstd:{level}"),
        }
    }
}

impl FromStr for Compression {
    type Err = String;

    fn from_str(text: &str) -> Result<Compression, String> {
        match text.split_once(':') {
            None if text == "none" => Ok(Compression::None),
            None if text == "zstd" => Ok(Compression::Zstd(3)),
            Some(("zstd", level)) => match level.parse() {
                Ok(level @ 1..=19) => Ok(Compression::Zstd(level)),
                _ => Err(format!("'{level}' is not a zstd level: 1 to 19")),
            },
            _ => Err(format!("'{text}' is not a compression: none, zstd, zstd:1..19")),
        }
    }
}

/// The settings of a topic, as they are in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicSettings {
    /// The level every publish reaches at least.
    pub durability: Durability,
    /// How long at most `async` leaves a record unsynced.
    pub flush_interval: Duration,
    /// A segment that would grow beyond this is sealed first.
    pub segment_bytes: u64,
    /// A segment older than this is sealed by the next append.
    pub segment_age: Duration,
    /// How new frames are stored.
    pub compression: Compression,
    /// The largest record, in bytes of its fields.
    pub record_bytes_max: u64,
    /// How long a message is known that may be sent again.
    pub dedup_window: Duration,
    /// How many messages of one producer are known: the newest.
    pub dedup_size: u64,
    /// Messages up to this ID are not known any more.
    pub dedup_after: RecordId,
    /// Retention: records older than this go. All three limits go by whole sealed segments.
    pub max_age: Option<Duration>,
    /// Retention: what lies before the newest so many bytes goes.
    pub max_bytes: Option<u64>,
    /// Retention: what lies before the newest so many records goes.
    pub max_records: Option<u64>,
    /// Whether retention keeps what a group has not committed.
    pub protect_groups: bool,
    /// How many bytes it keeps for groups at most.
    pub protect_bytes_max: u64,
    /// Whether compaction keeps only the newest record of each key.
    pub compact: bool,
    /// How long compaction keeps a null that nothing has superseded.
    pub tombstone_age: Duration,
    /// When a running server deletes the topic, in ms since 1970.
    pub expire_at: Option<TimestampMs>,
    /// How much may be published.
    pub limit: LimitSettings,
}

impl TopicSettings {
    /// Whether retention has anything to go by.
    #[must_use]
    pub fn has_retention(&self) -> bool {
        self.max_age.is_some() || self.max_bytes.is_some() || self.max_records.is_some()
    }
}

/// The largest record there can be: 512 MiB.
pub const RECORD_BYTES_LIMIT: u64 = 512 << 20;
/// Below this a segment could not hold its header and one frame of a few records.
pub const SEGMENT_BYTES_MIN: u64 = 4 << 10;
/// Positions stay far from overflow, and a damaged segment stays repairable in reasonable time.
pub const SEGMENT_BYTES_LIMIT: u64 = 64 << 30;

impl Default for TopicSettings {
    fn default() -> TopicSettings {
        TopicSettings {
            durability: Durability::Sync,
            flush_interval: Duration::from_millis(100),
            segment_bytes: 256 << 20,
            segment_age: Duration::from_secs(7 * 86_400),
            compression: Compression::None,
            record_bytes_max: RECORD_BYTES_LIMIT,
            dedup_window: Duration::from_secs(100),
            dedup_size: 100,
            dedup_after: RecordId::ZERO,
            max_age: None,
            max_bytes: None,
            max_records: None,
            protect_groups: true,
            protect_bytes_max: 10 << 30,
            compact: false,
            tombstone_age: Duration::from_secs(86_400),
            expire_at: None,
            limit: LimitSettings::default(),
        }
    }
}

/// One row of the table of settings.
pub struct Setting {
    /// As users write it.
    pub name: &'static str,
    /// What it takes, for help texts.
    pub values: &'static str,
    /// What it does, in one line.
    pub help: &'static str,
    read: fn(&TopicSettings) -> String,
    write: fn(&mut TopicSettings, &str) -> Result<(), String>,
}

/// Every setting there is, in the order in which listings show them.
pub const SETTINGS: &[Setting] = &[
    Setting {
        name: "durability",
        values: "none, async, sync",
        help: "what must have happened before a record counts as stored",
        read: |s| s.durability.to_string(),
        write: |s, v| v.parse().map(|v| s.durability = v),
    },
    Setting {
        name: "flush-interval",
        values: "duration, 1ms..1h",
        help: "how long at most async leaves a record unsynced",
        read: |s| units::format_duration(s.flush_interval),
        write: |s, v| {
            let range = Duration::from_millis(1)..=Duration::from_secs(3600);
            bounded(units::parse_duration(v)?, range, "1ms to 1h").map(|v| s.flush_interval = v)
        },
    },
    Setting {
        name: "segment-bytes",
        values: "size, 4KiB..64GiB",
        help: "a segment that would grow beyond this is sealed",
        read: |s| units::format_size(s.segment_bytes),
        write: |s, v| {
            let range = SEGMENT_BYTES_MIN..=SEGMENT_BYTES_LIMIT;
            bounded(units::parse_size(v)?, range, "4KiB to 64GiB").map(|v| s.segment_bytes = v)
        },
    },
    Setting {
        name: "segment-age",
        values: "duration, at least 1s",
        help: "a segment older than this is sealed by the next append",
        read: |s| units::format_duration(s.segment_age),
        write: |s, v| {
            let range = Duration::from_secs(1)..=Duration::MAX;
            bounded(units::parse_duration(v)?, range, "at least 1s").map(|v| s.segment_age = v)
        },
    },
    Setting {
        name: "compression",
        values: "none, zstd, zstd:1..19",
        help: "how new records are stored",
        read: |s| s.compression.to_string(),
        write: |s, v| v.parse().map(|v| s.compression = v),
    },
    Setting {
        name: "record-bytes-max",
        values: "size, 1..512MiB",
        help: "larger records are refused",
        read: |s| units::format_size(s.record_bytes_max),
        write: |s, v| bounded(units::parse_size(v)?, 1..=RECORD_BYTES_LIMIT, "1 byte to 512MiB").map(|v| s.record_bytes_max = v),
    },
    Setting {
        name: "dedup-window",
        values: "duration, 1s..1d",
        help: "how long a message that is sent again is known",
        read: |s| units::format_duration(s.dedup_window),
        write: |s, v| {
            let range = Duration::from_secs(1)..=Duration::from_secs(86_400);
            bounded(units::parse_duration(v)?, range, "1s to 1d").map(|v| s.dedup_window = v)
        },
    },
    Setting {
        name: "dedup-size",
        values: "number, 1..10000",
        help: "so many messages of a producer are known, the newest",
        read: |s| s.dedup_size.to_string(),
        write: |s, v| {
            let number = v.parse().map_err(|_| format!("'{v}' is not a number: 1 to 10000"))?;
            bounded(number, 1..=10_000, "1 to 10000").map(|v| s.dedup_size = v)
        },
    },
    Setting {
        name: "dedup-after",
        values: "none, ID",
        help: "messages up to this ID are not known any more",
        read: |s| if s.dedup_after == RecordId::ZERO { "none".to_owned() } else { s.dedup_after.to_string() },
        write: |s, v| {
            let id = if v == "none" { Ok(RecordId::ZERO) } else { v.parse() };
            id.map(|id| s.dedup_after = id).map_err(|()| format!("'{v}' is not an ID: none, or as 1526919030474-55"))
        },
    },
    Setting {
        name: "max-age",
        values: "none, duration from 1s",
        help: "retention: older records go, a sealed segment at a time",
        read: |s| or_none(s.max_age, units::format_duration),
        write: |s, v| {
            let range = Duration::from_secs(1)..=Duration::MAX;
            let parse = |v: &str| bounded(units::parse_duration(v)?, range, "at least 1s");
            unless_none(v, parse).map(|v| s.max_age = v)
        },
    },
    Setting {
        name: "max-bytes",
        values: "none, size",
        help: "retention: what is beyond the newest so many bytes goes",
        read: |s| or_none(s.max_bytes, units::format_size),
        write: |s, v| unless_none(v, units::parse_size).map(|v| s.max_bytes = v),
    },
    Setting {
        name: "max-records",
        values: "none, number",
        help: "retention: what is beyond the newest so many records goes",
        read: |s| or_none(s.max_records, |count| count.to_string()),
        write: |s, v| {
            let parse = |v: &str| v.parse().map_err(|_| format!("'{v}' is not a number of records"));
            unless_none(v, parse).map(|v| s.max_records = v)
        },
    },
    Setting {
        name: "protect-groups",
        values: "on, off",
        help: "retention keeps what a group has not committed",
        read: |s| on_or_off(s.protect_groups),
        write: |s, v| is_on(v).map(|v| s.protect_groups = v),
    },
    Setting {
        name: "protect-bytes-max",
        values: "size",
        help: "but of the newest so many bytes only",
        read: |s| units::format_size(s.protect_bytes_max),
        write: |s, v| units::parse_size(v).map(|v| s.protect_bytes_max = v),
    },
    Setting {
        name: "compact",
        values: "on, off",
        help: "compaction keeps the newest record of each key",
        read: |s| on_or_off(s.compact),
        write: |s, v| is_on(v).map(|v| s.compact = v),
    },
    Setting {
        name: "tombstone-age",
        values: "duration",
        help: "how long compaction keeps nulls",
        read: |s| units::format_duration(s.tombstone_age),
        write: |s, v| units::parse_duration(v).map(|v| s.tombstone_age = v),
    },
    Setting {
        name: "expire-at",
        values: "none, ms since 1970",
        help: "when a running server deletes the topic",
        read: |s| s.expire_at.map_or_else(|| "none".to_owned(), |at| at.0.to_string()),
        write: |s, v| match v {
            "none" => {
                s.expire_at = None;
                Ok(())
            }
            _ => v
                .parse()
                .map(|ms| s.expire_at = Some(TimestampMs(ms)))
                .map_err(|_| format!("'{v}' is not a time: none, or ms since 1970")),
        },
    },
    Setting {
        name: "rate",
        values: "none, as 1000/s (/m /h)",
        help: "records that may be published",
        read: |s| or_none(s.limit.rate, |rate| rate.to_string()),
        write: |s, v| rate_of(v, Counted::Records).map(|rate| s.limit.rate = rate),
    },
    Setting {
        name: "rate-bytes",
        values: "none, as 10MB/s (/m /h)",
        help: "bytes that may be published",
        read: |s| or_none(s.limit.rate_bytes, Rate::format_bytes),
        write: |s, v| rate_of(v, Counted::Bytes).map(|rate| s.limit.rate_bytes = rate),
    },
    Setting {
        name: "burst",
        values: "none, number of records",
        help: "of rate, so many at once; none = a second's worth",
        read: |s| or_none(s.limit.burst, |burst| burst.to_string()),
        write: |s, v| {
            let count = |v: &str| v.parse().map_err(|_| format!("'{v}' is not a number of records"));
            burst_of(v, count).map(|burst| s.limit.burst = burst)
        },
    },
    Setting {
        name: "burst-bytes",
        values: "none, size",
        help: "of rate-bytes, so many at once; none = a second's worth",
        read: |s| or_none(s.limit.burst_bytes, units::format_size),
        write: |s, v| burst_of(v, units::parse_size).map(|burst| s.limit.burst_bytes = burst),
    },
    Setting {
        name: "adaptive",
        values: "off, on, see limit set",
        help: "lowers both rates, to half at most, while the load is high",
        read: |s| s.limit.adaptive.to_string(),
        write: |s, v| v.parse().map(|v| s.limit.adaptive = v),
    },
];

fn or_none<T>(value: Option<T>, words: impl Fn(T) -> String) -> String {
    value.map_or_else(|| "none".to_owned(), words)
}

fn unless_none<T>(text: &str, parse: impl FnOnce(&str) -> Result<T, String>) -> Result<Option<T>, String> {
    if text == "none" { Ok(None) } else { parse(text).map(Some) }
}

fn on_or_off(value: bool) -> String {
    if value { "on" } else { "off" }.to_owned()
}

fn is_on(text: &str) -> Result<bool, String> {
    match text {
        "on" => Ok(true),
        "off" => Ok(false),
        _ => Err(format!("'{text}' is neither on nor off")),
    }
}

fn bounded<T: PartialOrd>(value: T, range: std::ops::RangeInclusive<T>, words: &str) -> Result<T, String> {
    if range.contains(&value) { Ok(value) } else { Err(format!("must be {words}")) }
}

/// Settings by name, only those that were given: the contents of `topic.toml`, or what a user typed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overrides(BTreeMap<String, String>);

impl Overrides {
    /// Takes `value` for `name`, or forgets the name when the value is empty.
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), String> {
        let setting = find(name)?;
        if value.is_empty() {
            self.0.remove(name);
            return Ok(());
        }
        let mut probe = TopicSettings::default();
        (setting.write)(&mut probe, value).map_err(|why| format!("{name}: {why}"))?;
        // Written as the table writes it, so that equal settings are equal files.
        self.0.insert(name.to_owned(), (setting.read)(&probe));
        Ok(())
    }

    /// Puts these settings over `defaults`.
    #[must_use]
    pub fn over(&self, defaults: &TopicSettings) -> TopicSettings {
        let mut settings = defaults.clone();
        for (name, value) in &self.0 {
            let written = find(name).and_then(|setting| (setting.write)(&mut settings, value));
            debug_assert!(written.is_ok(), "set() has checked {name}={value}");
        }
        settings
    }

    /// Takes all of `later`, name by name.
    pub fn extend(&mut self, later: &Overrides) {
        self.0.extend(later.0.iter().map(|(name, value)| (name.clone(), value.clone())));
    }

    /// Whether nothing differs from the defaults.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Name and value of each, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Whether `name` was given.
    #[must_use]
    pub fn contains(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }
}

impl TopicSettings {
    /// Name and value of every setting, in the table's order.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, String)> + '_ {
        SETTINGS.iter().map(|setting| (setting.name, (setting.read)(self)))
    }
}

fn find(name: &str) -> Result<&'static Setting, String> {
    SETTINGS.iter().find(|setting| setting.name == name).ok_or_else(|| {
        let names: Vec<&str> = SETTINGS.iter().map(|setting| setting.name).collect();
        format!("there is no setting '{}'; there are {}", name.escape_default(), names.join(", "))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_default_reads_back_as_itself() {
        let defaults = TopicSettings::default();
        let mut all = Overrides::default();
        for (name, value) in defaults.iter() {
            all.set(name, &value).expect("a default is a legal value");
        }
        assert_eq!(all.over(&defaults), defaults);
    }

    #[test]
    fn limits_are_written_as_they_are_read() {
        let mut overrides = Overrides::default();
        let all = [("rate", "1/h"), ("rate-bytes", "10MB/s"), ("burst", "1000000000000"), ("burst-bytes", "64KiB")];
        all.iter().for_each(|(name, value)| overrides.set(name, value).expect("legal"));
        assert_eq!(overrides.iter().count(), 4);
        all.iter().for_each(|(name, value)| assert!(overrides.iter().any(|row| row == (*name, *value)), "{name}"));
        for (typed, written) in
            [("on", "sync:100ms"), ("append:20ms", "append:20ms"), ("lag:5000", "lag:5000"), ("lag:30s", "lag:30s")]
        {
            overrides.set("adaptive", typed).expect("legal");
            assert!(overrides.iter().any(|row| row == ("adaptive", written)), "{typed}");
        }
    }

    #[test]
    fn bad_values_are_refused_and_an_empty_one_forgets() {
        let mut overrides = Overrides::default();
        for (name, value) in [
            ("durability", "fsync"),
            ("segment-bytes", "1"),
            ("colour", "red"),
            ("compression", "zstd:20"),
            ("rate", "0/s"),
            ("rate", "-5/s"),
            ("rate", "1MB/s"),
            ("rate-bytes", "5/s"),
            ("burst", "0"),
            ("burst", "1MB"),
            ("adaptive", "maybe"),
            ("adaptive", "lag:0"),
            ("adaptive", "sync:0s"),
        ] {
            assert!(overrides.set(name, value).is_err(), "{name}={value}");
        }
        overrides.set("compression", "zstd").expect("legal");
        assert_eq!(overrides.iter().collect::<Vec<_>>(), [("compression", "zstd:3")]);
        overrides.set("compression", "").expect("legal");
        assert!(overrides.is_empty());
    }
}
