//! Which rate limits are set: those of topics in their `topic.toml`, all others in `limits.toml`.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::Deserialize;
use tracing::warn;

use super::settings_file::{one_line, overrides, parse_hex, push_hex};
use super::{Store, Topic};
use crate::config::{Adaptive, LIMIT_SETTINGS, LimitOf, LimitSettings, Overrides, TopicSettings};
use crate::error::{Error, Result};
use crate::job::Job;
use crate::log::{Mode, announce_settings};

/// The file of the limits that are not a topic's.
pub(super) const LIMITS_FILE: &str = "limits.toml";
/// It is never larger.
pub(super) const LIMITS_BYTES_MAX: usize = 4 << 20;

/// Limits that are not a topic's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LimitRules {
    global: Overrides,
    readers: BTreeMap<Box<[u8]>, Overrides>,
}

#[derive(Deserialize)]
struct RulesToml {
    #[serde(default)]
    global: BTreeMap<String, toml::Value>,
    #[serde(default)]
    reader: Vec<BTreeMap<String, toml::Value>>,
}

impl LimitRules {
    /// What everything together may publish.
    #[must_use]
    pub fn global(&self) -> LimitSettings {
        self.global.over(&TopicSettings::default()).limit
    }

    /// How fast may be read under a name.
    #[must_use]
    pub fn reader(&self, name: &[u8]) -> LimitSettings {
        self.readers.get(name).map_or_else(LimitSettings::default, |set| set.over(&TopicSettings::default()).limit)
    }

    fn parse(text: &str) -> std::result::Result<LimitRules, String> {
        let file: RulesToml = toml::from_str(text).map_err(|error| format!("cannot be read: {}", one_line(&error)))?;
        let mut rules = LimitRules { global: limits_only(file.global)?, ..LimitRules::default() };
        for mut reader in file.reader {
            let name = match (reader.remove("name"), reader.remove("name_hex")) {
                (Some(toml::Value::String(name)), None) => Some(name.into_bytes()),
                (None, Some(toml::Value::String(hex))) => parse_hex(&hex),
                _ => None,
            };
            let name = name.ok_or("has a [[reader]] without a good name")?;
            rules.readers.insert(name.into(), limits_only(reader)?);
        }
        Ok(rules)
    }

    fn write(&self) -> String {
        let mut text = "# Rate limits; topics have theirs beside them. Change them with: drave limit set\n".to_owned();
        let put = |text: &mut String, set: &Overrides| {
            set.iter().for_each(|(name, value)| {
                let _ = writeln!(text, "{name} = \"{value}\"");
            });
        };
        if !self.global.is_empty() {
            text.push_str("[global]\n");
            put(&mut text, &self.global);
        }
        for (name, set) in &self.readers {
            text.push_str("[[reader]]\n");
            match std::str::from_utf8(name) {
                Ok(name) => {
                    let _ = writeln!(text, "name = {}", toml::Value::from(name));
                }
                Err(_) => {
                    text.push_str("name_hex = \"");
                    push_hex(&mut text, name);
                    text.push_str("\"\n");
                }
            }
            put(&mut text, set);
        }
        text
    }
}

fn limits_only(values: BTreeMap<String, toml::Value>) -> std::result::Result<Overrides, String> {
    match values.keys().find(|name| !LIMIT_SETTINGS.contains(&name.as_str())) {
        Some(name) => Err(format!("sets {}, which is no limit", name.escape_default())),
        None => overrides(values),
    }
}

impl Store {
    /// The limits that are not a topic's.
    ///
    /// # Errors
    /// [`Error::Damaged`] when `limits.toml` cannot be read.
    pub fn limit_rules(&self) -> Result<LimitRules> {
        let Some(bytes) = self.root().read(LIMITS_FILE.as_bytes(), LIMITS_BYTES_MAX)? else { return Ok(LimitRules::default()) };
        let path = self.root().path().join(LIMITS_FILE);
        let text = String::from_utf8(bytes).map_err(|_| "is not text".to_owned());
        text.and_then(|text| LimitRules::parse(&text)).map_err(|what| Error::Damaged { path, position: 0, what })
    }

    /// The same for who publishes or reads: a file that cannot be read hinders nobody, and is said.
    #[must_use]
    pub fn limit_rules_or_none(&self) -> LimitRules {
        self.limit_rules().unwrap_or_else(|error| {
            warn!("{error}; limits but those of topics do not hold until this is mended");
            LimitRules::default()
        })
    }

    /// Changes a limit; an empty value puts a setting back. Every process notices at once, and the limit starts anew.
    ///
    /// # Errors
    /// [`Error::TopicMissing`].
    pub fn set_limit(&self, of: &LimitOf, changes: &[(String, String)], job: &Job) -> Result<()> {
        if let LimitOf::Topic(name) = of {
            let mut overrides = self.topic(name, Mode::Write, job)?.settings()?.1;
            set_all(&mut overrides, changes)?;
            check_not_idle(&overrides.over(&self.defaults).limit, changes)?;
            return self.configure_topic(name, changes, job);
        }
        let _lock = self.limits().lock_rules()?;
        let mut rules = self.limit_rules()?;
        let set = match of {
            LimitOf::Reader(name) => rules.readers.entry(name.clone()).or_default(),
            _ => &mut rules.global,
        };
        set_all(set, changes)?;
        let limit = set.over(&TopicSettings::default()).limit;
        check_adaptive(of, limit.adaptive)?;
        check_not_idle(&limit, changes)?;
        rules.readers.retain(|_, set| !set.is_empty());
        self.root().replace(LIMITS_FILE.as_bytes(), rules.write().as_bytes(), true)?;
        self.start_limit_anew(of)?;
        for topic in self.list_topics()? {
            match self.topics_dir().dir(&topic.file_name) {
                // Deleted since it was listed.
                Err(error) if error.is_not_found() => {}
                dir => announce_settings(&dir?)?,
            }
        }
        Ok(())
    }

    /// What was taken under the old settings counts no more.
    fn start_limit_anew(&self, of: &LimitOf) -> Result<()> {
        if self.limits().look(of).is_ok_and(|slot| slot.is_some()) {
            self.limits().slot(of, 0)?.start_anew();
        }
        Ok(())
    }

    /// Notes that settings of a topic were changed.
    pub(super) fn topic_limit_changed(&self, topic: &Topic, changes: &[(String, String)]) -> Result<()> {
        if changes.iter().any(|(name, _)| LIMIT_SETTINGS.contains(&name.as_str())) {
            self.start_limit_anew(&LimitOf::Topic(topic.name().clone()))?;
        }
        Ok(())
    }

    /// Everything that is limited, and how: global, then topics, then readers, by name. Opens no log.
    pub fn list_limits(&self) -> Result<Vec<(LimitOf, LimitSettings)>> {
        let rules = self.limit_rules()?;
        let mut all = vec![(LimitOf::Global, rules.global())];
        if self.defaults().limit.is_limit() {
            for topic in self.list_topics()? {
                all.push((LimitOf::Topic(topic.name), self.defaults().limit));
            }
        }
        for (name, overrides) in self.all_overrides()? {
            all.retain(|(of, _)| *of != LimitOf::Topic(name.clone()));
            all.push((LimitOf::Topic(name), overrides.over(self.defaults()).limit));
        }
        all.extend(rules.readers.keys().map(|name| (LimitOf::Reader(name.clone()), rules.reader(name))));
        all.retain(|(_, settings)| settings.is_limit());
        all.sort_by(|(a, _), (b, _)| a.cmp(b));
        Ok(all)
    }
}

/// Only a topic has groups that can be behind; and who reads slower does not make a disk faster.
fn set_all(set: &mut Overrides, changes: &[(String, String)]) -> Result<()> {
    let refused = |why| Error::SettingRefused { why };
    changes.iter().try_for_each(|(name, value)| set.set(name, value).map_err(refused))
}

/// A limit that limits nothing is a mistake of whoever sets it.
fn check_not_idle(limit: &LimitSettings, changes: &[(String, String)]) -> Result<()> {
    match changes.iter().find_map(|(name, _)| limit.idle_without(name)) {
        Some(why) => Err(Error::SettingRefused { why: why.to_owned() }),
        None => Ok(()),
    }
}

fn check_adaptive(of: &LimitOf, adaptive: Adaptive) -> Result<()> {
    let why = match (of, adaptive) {
        (_, Adaptive::Off) | (LimitOf::Topic(_), _) => return Ok(()),
        (LimitOf::Global, Adaptive::Append(_) | Adaptive::Sync(_)) => return Ok(()),
        (LimitOf::Global, _) => "the global limit can adapt to append: and sync:, only a topic's to lag:",
        (LimitOf::Reader(_), _) => "a reader's limit does not adapt: what it would adapt to is what is published",
    };
    Err(Error::SettingRefused { why: why.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_read_as_they_were_written() {
        let mut rules = LimitRules::default();
        rules.global.set("rate", "1000/s").expect("legal");
        for name in [&b"billing"[..], b"", b"a \"b\"\n", &[0xff, 0]] {
            rules.readers.entry(name.into()).or_default().set("rate-bytes", "5MB/s").expect("legal");
        }
        assert_eq!(LimitRules::parse(&rules.write()), Ok(rules.clone()));
        assert_eq!(rules.reader(b"billing").rate_bytes.map(|rate| rate.count), Some(5_000_000));
        assert!(!rules.reader(b"other").is_limit() && rules.global().is_limit());
    }

    #[test]
    fn what_is_no_limit_is_refused() {
        for bad in [
            "[global]\ndurability = \"none\"",
            "[global]\nrate = 5",
            "[[reader]]\nrate = \"5/s\"",
            "[[reader]]\nname_hex = \"x\"",
            "x",
        ] {
            assert!(LimitRules::parse(bad).is_err(), "{bad}");
        }
    }
}
