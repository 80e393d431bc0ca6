//! How the bytes of one record become its fields.

use std::borrow::Cow;

use drave::codec::{BatchBuilder, FieldRef};
use drave::units::format_size;
use memchr::memmem::Finder;

use crate::cli::key_path::KeyPath;
use crate::cli::ndjson;

/// Where a record's key comes from.
pub(super) enum Key {
    None,
    Fixed(Vec<u8>),
    /// What stands before the first separator.
    Before(Box<Finder<'static>>),
    /// A member of the record, which is JSON.
    At(KeyPath),
}

/// What makes fields of bytes.
pub(super) struct Recipe {
    /// The bytes are an object that names all fields itself.
    pub(super) json: bool,
    pub(super) key: Key,
    pub(super) headers: Vec<(Vec<u8>, Vec<u8>)>,
    /// The largest record that the topic takes, in bytes of its fields.
    pub(super) record_bytes_max: u64,
}

impl Recipe {
    /// Whether the bytes are the record: a value and no more.
    pub(super) fn is_plain(&self) -> bool {
        !self.json && matches!(self.key, Key::None) && self.headers.is_empty()
    }

    /// Appends the record that `bytes` stand for. An error says what is wrong with them.
    pub(super) fn push(&self, bytes: &[u8], builder: &mut BatchBuilder) -> Result<(), String> {
        if self.is_plain() {
            self.check_size(bytes.len())?;
            builder.push_value(bytes);
            return Ok(());
        }
        if self.json {
            return self.push_object(&ndjson::parse(bytes)?, builder);
        }
        let (key, value) = match &self.key {
            Key::None => (None, bytes),
            Key::Fixed(key) => (Some(Cow::Borrowed(key.as_slice())), bytes),
            Key::Before(separator) => match separator.find(bytes) {
                Some(at) => (Some(Cow::Borrowed(&bytes[..at])), &bytes[at + separator.needle().len()..]),
                None => (None, bytes),
            },
            Key::At(path) => (path.find(bytes)?, bytes),
        };
        self.push_fields(key.as_deref(), Some(value), builder)
    }

    /// Appends a null.
    pub(super) fn push_tombstone(&self, builder: &mut BatchBuilder) -> Result<(), String> {
        let key = match &self.key {
            Key::Fixed(key) => Some(key.as_slice()),
            _ => None,
        };
        self.push_fields(key, None, builder)
    }

    /// Appends a record that was read as an object.
    pub(super) fn push_object(&self, object: &ndjson::Object<'_>, builder: &mut BatchBuilder) -> Result<(), String> {
        self.push_checked(&object.field_refs(), object.null, builder)
    }

    fn push_fields(&self, key: Option<&[u8]>, value: Option<&[u8]>, builder: &mut BatchBuilder) -> Result<(), String> {
        let mut fields: Vec<FieldRef<'_>> = Vec::with_capacity(self.headers.len() + 2);
        fields.extend(key.map(|key| (&b"key"[..], key)));
        fields.extend(value.map(|value| (&b"value"[..], value)));
        fields.extend(self.headers.iter().map(|(name, value)| (name.as_slice(), value.as_slice())));
        self.push_checked(&fields, value.is_none(), builder)
    }

    fn push_checked(&self, fields: &[FieldRef<'_>], null: bool, builder: &mut BatchBuilder) -> Result<(), String> {
        self.check_size(fields.iter().map(|(name, value)| name.len() + value.len()).sum())?;
        builder.push(fields, null, None).map_err(|why| why.to_string())
    }

    /// Checked here too, though the engine does it: here it is known which record it is.
    pub(super) fn check_size(&self, bytes: usize) -> Result<(), String> {
        if bytes as u64 > self.record_bytes_max {
            let limit = format_size(self.record_bytes_max);
            return Err(format!("the record has more than {limit}, which is the most this topic takes (record-bytes-max)"));
        }
        Ok(())
    }
}
