//! What can be set for a group. One table serves `consume`, `group create`, `group set` and every
//! listing.

use std::num::NonZeroU32;
use std::time::Duration;

use crate::codec::group_event::{Assign, GroupSettings, Order};
use crate::units;

/// A consumer that may be silent for less would lose its entries to a busy disk.
const LEASE_MS_MIN: u64 = 100;
/// Beyond this a pause does not fit a pending entry (49 days).
pub(super) const DELAY_MS_MAX: u64 = u32::MAX as u64;

impl Default for GroupSettings {
    fn default() -> GroupSettings {
        GroupSettings {
            order: Order::None,
            assign: Assign::Sticky,
            lease_ms: 30_000,
            attempts_max: NonZeroU32::new(5),
            backoff_min_ms: 1_000,
            backoff_max_ms: 300_000,
            no_ack: false,
            paused: false,
        }
    }
}

/// One row of the table of settings.
#[derive(Clone, Copy)]
pub struct GroupSetting {
    /// As users write it.
    pub name: &'static str,
    /// What it takes, for help texts.
    pub values: &'static str,
    /// What it does, in one line.
    pub help: &'static str,
    read: fn(&GroupSettings) -> String,
    write: fn(&mut GroupSettings, &str) -> Result<(), String>,
}

const ORDERS: [(&str, Order); 3] = [("none", Order::None), ("key", Order::Key), ("topic", Order::Topic)];
const ASSIGNS: [(&str, Assign); 4] = [
    ("range", Assign::Range),
    ("round-robin", Assign::RoundRobin),
    ("sticky", Assign::Sticky),
    ("consistent-hash", Assign::ConsistentHash),
];
const SWITCH: [(&str, bool); 2] = [("on", true), ("off", false)];

/// Every setting there is, in the order in which listings show them.
pub const GROUP_SETTINGS: &[GroupSetting] = &[
    GroupSetting {
        name: "order",
        values: "none, key, topic",
        help: "what is handed out in order, to one consumer at a time",
        read: |s| word(&ORDERS, s.order),
        write: |s, v| choice(&ORDERS, v).map(|v| s.order = v),
    },
    GroupSetting {
        name: "assign",
        values: "range, round-robin, sticky, consistent-hash",
        help: "how an ordered group deals its lanes to consumers",
        read: |s| word(&ASSIGNS, s.assign),
        write: |s, v| choice(&ASSIGNS, v).map(|v| s.assign = v),
    },
    GroupSetting {
        name: "lease",
        values: "duration, at least 100ms",
        help: "how long a consumer may be silent before others get what it holds",
        read: |s| duration(s.lease_ms),
        write: |s, v| match ms(v)? {
            short if short < LEASE_MS_MIN => Err("must be at least 100ms".to_owned()),
            v => {
                s.lease_ms = v;
                Ok(())
            }
        },
    },
    GroupSetting {
        name: "max-attempts",
        values: "number, 0 = for ever",
        help: "deliveries before a record is dead-lettered",
        read: |s| s.attempts_max.map_or(0, NonZeroU32::get).to_string(),
        write: |s, v| {
            let number = v.parse().map_err(|_| format!("'{v}' is not a number of attempts"))?;
            s.attempts_max = NonZeroU32::new(number);
            Ok(())
        },
    },
    GroupSetting {
        name: "backoff",
        values: "duration..duration, at most 49d",
        help: "the pause before a retry: the first one, and the longest",
        read: |s| format!("{}..{}", duration(s.backoff_min_ms), duration(s.backoff_max_ms)),
        write: |s, v| {
            let (min, max) = v.split_once("..").unwrap_or((v, v));
            let (min, max) = (ms(min)?, ms(max)?);
            if min > max || max > DELAY_MS_MAX {
                return Err("must be the shorter, then the longer pause, at most 49d, as 1s..5m".to_owned());
            }
            (s.backoff_min_ms, s.backoff_max_ms) = (min, max);
            Ok(())
        },
    },
    GroupSetting {
        name: "no-ack",
        values: "on, off",
        help: "what is delivered is settled: at most once",
        read: |s| word(&SWITCH, s.no_ack),
        write: |s, v| choice(&SWITCH, v).map(|v| s.no_ack = v),
    },
    GroupSetting {
        name: "paused",
        values: "on, off",
        help: "whether nothing is delivered until the group is resumed",
        read: |s| word(&SWITCH, s.paused),
        write: |s, v| choice(&SWITCH, v).map(|v| s.paused = v),
    },
];

fn word<T: PartialEq + Copy>(choices: &[(&str, T)], value: T) -> String {
    choices.iter().find(|(_, choice)| *choice == value).map_or_else(String::new, |(name, _)| (*name).to_owned())
}

fn choice<T: Copy>(choices: &[(&str, T)], text: &str) -> Result<T, String> {
    let found = choices.iter().find(|(name, _)| *name == text);
    found.map(|(_, choice)| *choice).ok_or_else(|| {
        let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
        format!("'{}' is none of {}", text.escape_default(), names.join(", "))
    })
}

fn ms(text: &str) -> Result<u64, String> {
    units::parse_duration(text).map(|duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
}

fn duration(ms: u64) -> String {
    units::format_duration(Duration::from_millis(ms))
}

impl GroupSettings {
    /// Sets one by name; an empty value = back to the default.
    ///
    /// # Errors
    /// A sentence, when there is no such setting or it does not take this value.
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), String> {
        let setting = GROUP_SETTINGS.iter().find(|setting| setting.name == name).ok_or_else(|| {
            let names: Vec<&str> = GROUP_SETTINGS.iter().map(|setting| setting.name).collect();
            format!("there is no group setting '{}'; there are {}", name.escape_default(), names.join(", "))
        })?;
        let default = || (setting.read)(&GroupSettings::default());
        let value = if value.is_empty() { default() } else { value.to_owned() };
        (setting.write)(self, &value).map_err(|why| format!("{name}: {why}"))
    }

    /// Name and value of every setting, in the table's order.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, String)> + '_ {
        GROUP_SETTINGS.iter().map(|setting| (setting.name, (setting.read)(self)))
    }

    /// Which settings have another value in `other`: name, value here, value there. Whether a group
    /// is paused says what it does now, not how it was made, and is left out.
    #[must_use]
    pub fn differences(&self, other: &GroupSettings) -> Vec<(&'static str, String, String)> {
        let pairs = self.iter().zip(other.iter());
        let differing = pairs.filter(|((name, here), (_, there))| *name != "paused" && here != there);
        differing.map(|((name, here), (_, there))| (name, here, there)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_group_default_reads_back_as_itself() {
        let mut settings = GroupSettings { order: Order::Key, attempts_max: None, ..GroupSettings::default() };
        for (name, value) in GroupSettings::default().iter() {
            settings.set(name, &value).expect("a default is a legal value");
        }
        assert_eq!(settings, GroupSettings::default());
    }

    #[test]
    fn bad_group_settings_are_refused_and_an_empty_one_forgets() {
        let mut settings = GroupSettings::default();
        let bad = [
            ("order", "keys"),
            ("assign", "random"),
            ("lease", "5"),
            ("lease", "99ms"),
            ("max-attempts", "-1"),
            ("max-attempts", "many"),
            ("backoff", "5m..1s"),
            ("backoff", "1s..50d"),
            ("backoff", "..1s"),
            ("no-ack", "yes"),
            ("colour", "red"),
        ];
        for (name, value) in bad {
            let before = settings.clone();
            assert!(settings.set(name, value).is_err(), "{name}={value}");
            assert_eq!(settings, before);
        }
        settings.set("max-attempts", "0").expect("for ever");
        assert_eq!(settings.attempts_max, None);
        settings.set("max-attempts", "").expect("the default");
        settings.set("backoff", "2s").expect("one for both");
        assert_eq!((settings.backoff_min_ms, settings.backoff_max_ms), (2_000, 2_000));
    }

    #[test]
    fn group_settings_that_differ_are_named() {
        let mut other = GroupSettings::default();
        assert!(other.differences(&GroupSettings::default()).is_empty());
        other.set("order", "topic").expect("legal");
        other.set("lease", "1m").expect("legal");
        other.set("paused", "on").expect("legal");
        let named = GroupSettings::default().differences(&other);
        let expected = [("order", "none", "topic"), ("lease", "30s", "1m")];
        assert_eq!(named, expected.map(|(name, here, there)| (name, here.to_owned(), there.to_owned())));
    }
}
