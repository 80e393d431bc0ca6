//! `store.toml` and `topic.toml`: text that a person may read, and whose defaults a person may edit.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use serde::Deserialize;

use crate::config::{Overrides, TopicSettings};
use crate::disk::{Dir, random};
use crate::error::{Error, Result};
use crate::ids::TopicName;

pub(super) const STORE_FILE: &str = "store.toml";
pub(super) const TOPIC_FILE: &str = "topic.toml";
const VERSION: u32 = 1;
/// Far more than a person would write.
const BYTES_MAX: usize = 1 << 20;

/// What `store.toml` says.
#[derive(Debug)]
pub(super) struct StoreFile {
    pub(super) version: u32,
    pub(super) id: String,
    pub(super) defaults: TopicSettings,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StoreToml {
    version: u32,
    id: String,
    #[serde(default)]
    defaults: BTreeMap<String, toml::Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TopicToml {
    #[serde(default)]
    name_hex: Option<String>,
    /// What it is being renamed to.
    #[serde(default)]
    new_name_hex: Option<String>,
    #[serde(default)]
    settings: BTreeMap<String, toml::Value>,
}

pub(super) fn read_store(root: &Dir) -> Result<Option<StoreFile>> {
    let bytes = root.read(STORE_FILE.as_bytes(), BYTES_MAX)?;
    bytes.map(|bytes| parse_store(&bytes, &root.path().join(STORE_FILE))).transpose()
}

/// What the bytes of the `store.toml` at `path` say.
pub(super) fn parse_store(bytes: &[u8], path: &Path) -> Result<StoreFile> {
    let wrong = |why: String| Error::StoreUnusable { path: path.to_owned(), why };
    let text = String::from_utf8(bytes.to_vec()).map_err(|_| wrong("is not text".to_owned()))?;
    check_version(&text, path)?;
    let file: StoreToml = toml::from_str(&text).map_err(|error| wrong(format!("cannot be read: {}", one_line(&error))))?;
    if file.version == 0 {
        return Err(wrong("has format version 0, which never was".to_owned()));
    }
    let defaults = overrides(file.defaults).map_err(|why| wrong(format!("[defaults] {why}")))?.over(&TopicSettings::default());
    Ok(StoreFile { version: file.version, id: file.id, defaults })
}

/// A newer version may have members that this drave does not know: its number is read first.
fn check_version(text: &str, path: &Path) -> Result<()> {
    let version = toml::from_str::<toml::Table>(text).ok().and_then(|table| table.get("version")?.as_integer());
    match version.map(u32::try_from) {
        Some(Ok(found)) if found > VERSION => Err(Error::VersionTooNew { path: path.to_owned(), found, supported: VERSION }),
        _ => Ok(()),
    }
}

pub(super) fn create_store(root: &Dir) -> Result<()> {
    let id: [u8; 16] = random();
    let mut text = format!("# A drave store. Do not change these two lines.\nversion = {VERSION}\nid = \"");
    push_hex(&mut text, &id);
    text.push_str("\"\n\n# What topics get that set nothing else, as in: durability = \"async\"\n[defaults]\n");
    root.create_new(STORE_FILE.as_bytes(), text.as_bytes())
}

/// The settings of a topic that differ from the defaults, and its full name if the directory's is a
/// hash. There are two while it is renamed: the one that the directory is called after is right.
pub(super) fn read_topic(dir: &Dir) -> Result<(Vec<TopicName>, Overrides)> {
    let Some(bytes) = dir.read(TOPIC_FILE.as_bytes(), BYTES_MAX)? else { return Ok((Vec::new(), Overrides::default())) };
    let wrong = |why: String| Error::StoreUnusable { path: dir.path().join(TOPIC_FILE), why };
    let text = String::from_utf8(bytes).map_err(|_| wrong("is not text".to_owned()))?;
    let file: TopicToml = toml::from_str(&text).map_err(|error| wrong(format!("cannot be read: {}", one_line(&error))))?;
    let mut names = Vec::new();
    for hex in file.name_hex.into_iter().chain(file.new_name_hex) {
        let name = parse_hex(&hex).and_then(|bytes| TopicName::new(&bytes));
        names.push(name.ok_or_else(|| wrong("has a bad name_hex".to_owned()))?);
    }
    Ok((names, overrides(file.settings).map_err(wrong)?))
}

/// Whether the topic has a `topic.toml`.
pub(super) fn has_settings(topics: &Dir, file_name: &[u8]) -> Result<bool> {
    Ok(topics.stat(&[file_name, b"/", TOPIC_FILE.as_bytes()].concat())?.is_some())
}

/// Writes `topic.toml`; without anything to say there is none. Not `durable` is for a new topic: the
/// file's name is then durable once something in the topic has been synced.
pub(super) fn write_topic(dir: &Dir, full_names: &[&TopicName], overrides: &Overrides, durable: bool) -> Result<()> {
    let mut text = String::new();
    for (member, name) in ["name_hex", "new_name_hex"].into_iter().zip(full_names) {
        let _ = write!(text, "{member} = \"");
        push_hex(&mut text, name.as_bytes());
        text.push_str("\"\n");
    }
    if !overrides.is_empty() {
        text.push_str("[settings]\n");
        for (name, value) in overrides.iter() {
            let _ = writeln!(text, "{name} = \"{value}\"");
        }
    }
    if text.is_empty() && dir.stat(TOPIC_FILE.as_bytes())?.is_none() {
        return Ok(());
    }
    if durable {
        return dir.replace(TOPIC_FILE.as_bytes(), text.as_bytes(), true);
    }
    // Its contents are synced all the same: a power cut could leave the name and half of them, and
    // a topic that cannot be opened has lost also what somebody published to it above its level.
    dir.create_new(TOPIC_FILE.as_bytes(), text.as_bytes())
}

pub(super) fn overrides(values: BTreeMap<String, toml::Value>) -> std::result::Result<Overrides, String> {
    let mut overrides = Overrides::default();
    for (name, value) in values {
        let text = match value {
            toml::Value::String(text) => text,
            other => other.to_string(),
        };
        overrides.set(&name, &text)?;
    }
    Ok(overrides)
}

pub(super) fn one_line(error: &toml::de::Error) -> String {
    error.message().replace('\n', " ")
}

pub(super) fn push_hex(text: &mut String, bytes: &[u8]) {
    for byte in bytes {
        let _ = write!(text, "{byte:02x}");
    }
}

pub(super) fn parse_hex(text: &str) -> Option<Vec<u8>> {
    if !text.is_ascii() || !text.len().is_multiple_of(2) {
        return None;
    }
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).ok()).collect()
}
