//! What `drave publish` takes. The comments are its help.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt as _;
use std::time::Duration;

use clap::ArgGroup;
use clap::builder::{OsStringValueParser, PossibleValuesParser, TypedValueParser};
use drave::config::Durability;
use drave::ids::{Offset, TopicName};
use memchr::memmem::Finder;

use super::recipe::{Key, Recipe};
use crate::cli::key_path::KeyPath;
use crate::cli::topic_name;

/// Append records to a topic
///
/// Each MESSAGE becomes one record. Without any, stdin is read: one record a line, the newline removed. Bytes are bytes: nothing is decoded, trimmed or interpreted unless an option asks for it. The store and the topic are created if they are missing.
///
/// Exit status 0 means that every record is stored at the topic's durability level: sync (the default) survives power loss. Records are written as they come and never held back while publish waits for input, so it can stand in a pipeline that runs for months.
///
/// SIGINT or SIGTERM: complete lines are still published, what was published is said on stderr, the exit status is 130 or 143.
#[derive(clap::Args, Debug)]
#[command(
    override_usage = "drave publish [OPTIONS] TOPIC [MESSAGE]...\n       drave publish [OPTIONS] --json --by-topic",
    after_help = EXAMPLES,
    after_long_help = AFTER_LONG_HELP,
    group = ArgGroup::new("keying").args(["key", "key_separator", "key_from"]),
    group = ArgGroup::new("cutting").args(["nul", "delimiter", "whole", "file", "json", "tombstone", "messages"]),
    group = ArgGroup::new("checked").args(["json", "key_from"]).multiple(true),
)]
pub(crate) struct Args {
    /// The topic: any 1 to 512 bytes
    #[arg(value_parser = topic_name(), required_unless_present = "by_topic", conflicts_with = "by_topic")]
    pub(super) topic: Option<TopicName>,

    /// A record each, all in one batch; stdin is not read then. An empty one is an empty record. Write -- before one that may begin with '-'
    #[arg(value_name = "MESSAGE", conflicts_with = "by_topic")]
    pub(super) messages: Vec<OsString>,

    /// Records on stdin end in NUL instead of a newline, as find -print0 writes them
    #[arg(short = '0', long, help_heading = "Input")]
    nul: bool,

    /// Records on stdin end in this; \n \t \r \0 \\ and \xNN are understood
    #[arg(short, long, value_name = "BYTES", value_parser = escaped_bytes(), allow_hyphen_values = true, help_heading = "Input")]
    delimiter: Option<Bytes>,

    /// All of stdin is one record
    #[arg(long, help_heading = "Input")]
    pub(super) whole: bool,

    /// Each of these files is one record
    #[arg(long, value_name = "FILE", num_args = 1.., help_heading = "Input")]
    pub(super) file: Vec<OsString>,

    /// Records are objects, one a line, as --json of tail and replay prints them; their offset, id and time are ignored, and their topic too unless --by-topic is given
    #[arg(long, conflicts_with_all = ["keying", "header"], help_heading = "Input")]
    json: bool,

    /// With --json: each record goes into the topic that its object names; no TOPIC is given
    #[arg(long, requires = "json", help_heading = "Input")]
    pub(super) by_topic: bool,

    /// With --json or --key-from: leave out lines that cannot be read, count them, exit 10 at the end
    #[arg(long, requires = "checked", help_heading = "Input")]
    pub(super) skip_bad: bool,

    /// The key of all records
    #[arg(short, long, allow_hyphen_values = true, help_heading = "Fields")]
    key: Option<OsString>,

    /// A record's key is what stands before the first of these; a record without one has no key. The same escapes as in --delimiter
    #[arg(short = 'K', long, value_name = "BYTES", value_parser = escaped_bytes(), allow_hyphen_values = true, help_heading = "Fields")]
    key_separator: Option<Bytes>,

    /// A record is JSON, and its key is the member at this path: .a.b, .a["b.c"], .a[0]. Absent or null: no key; not a string: the JSON text that stands there; not JSON: exit 10 with the line's number
    #[arg(long, value_name = "PATH", value_parser = KeyPath::parse, help_heading = "Fields")]
    key_from: Option<KeyPath>,

    /// A header of all records; may be given several times
    #[arg(short = 'H', long, value_name = "NAME=VALUE", value_parser = header(), help_heading = "Fields")]
    header: Vec<(Vec<u8>, Vec<u8>)>,

    /// Publish a null under --key: compaction then forgets the key
    #[arg(long, requires = "key", help_heading = "Fields")]
    pub(super) tombstone: bool,

    /// A level above the topic's: none < async < sync. It may only be raised
    #[arg(long, value_name = "LEVEL", value_parser = durability(), help_heading = "Storing")]
    pub(super) durability: Option<Durability>,

    /// Print "offset<TAB>id<TAB>level" for each record once it is stored at that level
    #[arg(long, help_heading = "Storing")]
    pub(super) receipts: bool,

    /// Publish only if the first record gets this offset, and each further one the next; else exit 12
    #[arg(long, value_name = "OFFSET", value_parser = offset, conflicts_with = "by_topic", help_heading = "Storing")]
    pub(super) expect_offset: Option<Offset>,

    /// How long each batch waits where rate limits hold it up. Without: it is refused at once, exit 9, and stderr says when to come again. A batch larger than a limit's burst is published in pieces
    #[arg(long, value_name = "DURATION", value_parser = drave::units::parse_duration, default_value = "0s", hide_default_value = true, help_heading = "Storing")]
    pub(super) limit_wait: Duration,

    /// A missing topic is an error (exit 3), and so is a missing store (exit 11)
    #[arg(long, help_heading = "Storing")]
    pub(super) no_create: bool,
}

const EXAMPLES: &str = "\
Examples:
  drave publish orders 'one order' 'another'
  journalctl -f -o json | drave publish logs --key-from ._SYSTEMD_UNIT
  find . -type f -print0 | drave publish files -0
  drave replay orders --json | drave publish orders-copy --json
  while read -r line; do drave publish t -- \"$line\"; done < list";

const AFTER_LONG_HELP: &str = "\
Examples:
  drave publish orders 'one order' 'another'
  journalctl -f -o json | drave publish logs --key-from ._SYSTEMD_UNIT
  find . -type f -print0 | drave publish files -0
  drave replay orders --json | drave publish orders-copy --json
  while read -r line; do drave publish t -- \"$line\"; done < list
  printf 'user7:login\\n' | drave publish events -K :
  drave publish state --tombstone -k user7

Objects of --json:
  {\"key\":\"k\",\"headers\":[[\"name\",\"value\"]],\"value\":\"text\"}
  key, headers and value may each be left out, not all of them. \"value\":null is a tombstone, \"value\":\"\" an empty value. \
key_b64 and value_b64 hold bytes in base64; {\"b64\":\"...\"} may stand for a header's name or value. \
\"fields\":[[name,value],...] stands in place of the three for a record whose fields have another order, with \"null\":true \
beside it for a tombstone. topic, offset, id and time are read over. Any other member is refused.";

/// Bytes that were written with escapes.
#[derive(Clone, Debug)]
struct Bytes(Vec<u8>);

fn escaped_bytes() -> impl TypedValueParser<Value = Bytes> {
    OsStringValueParser::new().try_map(|text| unescape(text.as_bytes()).map(Bytes))
}

/// Reads `\n \t \r \0 \\ \xNN`.
fn unescape(text: &[u8]) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&first, after)) = rest.split_first() {
        rest = after;
        if first != b'\\' {
            bytes.push(first);
            continue;
        }
        let (&code, after) = rest.split_first().ok_or("a single '\\' at the end; write \\\\ for one")?;
        rest = after;
        bytes.push(match code {
            b'n' => b'\n',
            b't' => b'\t',
            b'r' => b'\r',
            b'0' => 0,
            b'\\' => b'\\',
            b'x' => {
                let digits = rest.get(..2).filter(|digits| digits.iter().all(u8::is_ascii_hexdigit));
                let digits = digits.and_then(|digits| std::str::from_utf8(digits).ok());
                let digits = digits.ok_or("\\x needs two hexadecimal digits")?;
                rest = &rest[2..];
                u8::from_str_radix(digits, 16).map_err(|error| error.to_string())?
            }
            _ => return Err("an unknown escape; there are \\n \\t \\r \\0 \\\\ \\xNN".to_owned()),
        });
    }
    if bytes.is_empty() { Err("it must not be empty".to_owned()) } else { Ok(bytes) }
}

fn header() -> impl TypedValueParser<Value = (Vec<u8>, Vec<u8>)> {
    OsStringValueParser::new().try_map(|text| {
        let text = text.as_bytes();
        let at = memchr::memchr(b'=', text).ok_or("a header is written NAME=VALUE")?;
        let (name, value) = (&text[..at], &text[at + 1..]);
        match name {
            b"" => Err("a header needs a name"),
            b"key" => Err("a header cannot be named key; use --key"),
            b"value" => Err("a header cannot be named value; that is the record's own"),
            _ => Ok((name.to_vec(), value.to_vec())),
        }
    })
}

fn durability() -> impl TypedValueParser<Value = Durability> {
    PossibleValuesParser::new(["none", "async", "sync"]).try_map(|level| level.parse())
}

fn offset(text: &str) -> Result<Offset, String> {
    text.parse().map(Offset).map_err(|_| format!("'{text}' is not an offset: write a number"))
}

impl Args {
    /// Whether anything but the command line is read.
    pub(super) fn reads_input(&self) -> bool {
        self.messages.is_empty() && !self.tombstone
    }

    /// What records on stdin end in.
    pub(super) fn delimiter(&self) -> Vec<u8> {
        match &self.delimiter {
            Some(delimiter) => delimiter.0.clone(),
            None if self.nul => vec![0],
            None => vec![b'\n'],
        }
    }

    /// How records become fields.
    pub(super) fn recipe(&self, record_bytes_max: u64) -> Recipe {
        let key = match (&self.key, &self.key_separator, &self.key_from) {
            (Some(key), _, _) => Key::Fixed(key.as_bytes().to_vec()),
            (_, Some(separator), _) => Key::Before(Box::new(Finder::new(&separator.0).into_owned())),
            (_, _, Some(path)) => Key::At(path.clone()),
            (None, None, None) => Key::None,
        };
        Recipe { json: self.json, key, headers: self.header.clone(), record_bytes_max }
    }

    /// What a record is called in messages.
    pub(super) fn noun(&self) -> &'static str {
        if !self.messages.is_empty() {
            "message"
        } else if !self.file.is_empty() {
            "file"
        } else if self.whole || self.tombstone || self.delimiter() != b"\n" {
            "record"
        } else {
            "line"
        }
    }

    /// How a person at a terminal tells records apart.
    pub(super) fn by_hand(&self) -> &'static str {
        if self.delimiter() == b"\n" { "one record a line" } else { "records end in the delimiter" }
    }

    /// How many records there are to be, where that is known.
    pub(super) fn total(&self) -> Option<u64> {
        if self.tombstone {
            Some(1)
        } else if !self.messages.is_empty() {
            Some(self.messages.len() as u64)
        } else if !self.file.is_empty() {
            Some(self.file.len() as u64)
        } else {
            None
        }
    }
}
