//! NDJSON as it is read: one record an object, in the shape that `--json` prints.

use std::borrow::Cow;
use std::fmt;

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use drave::codec::FieldRef;
use serde::de::{Deserialize, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::key_path::Name;

const BASE64: GeneralPurpose =
    GeneralPurpose::new(&STANDARD, GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent));

/// Bytes, borrowed from the line where they stand there as they are.
type Bytes<'a> = Cow<'a, [u8]>;

/// A record as a line tells it. `offset`, `id` and `time` are read over: the target assigns new ones.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Object<'a> {
    /// The topic it came from.
    pub(crate) topic: Option<Bytes<'a>>,
    /// A tombstone.
    pub(crate) null: bool,
    /// The fields, in the record's order.
    pub(crate) fields: Vec<(Bytes<'a>, Bytes<'a>)>,
}

impl Object<'_> {
    /// The fields, borrowed.
    pub(crate) fn field_refs(&self) -> Vec<FieldRef<'_>> {
        self.fields.iter().map(|(name, value)| (name.as_ref(), value.as_ref())).collect()
    }
}

/// Reads one line.
pub(crate) fn parse(line: &[u8]) -> Result<Object<'_>, String> {
    let mut deserializer = serde_json::Deserializer::from_slice(line);
    let object = Object::deserialize(&mut deserializer).and_then(|object| deserializer.end().map(|()| object));
    object.map_err(|error| words(&error))
}

/// What serde_json says, without a line number: each text has but one line, and it is told elsewhere.
pub(crate) fn words(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let what = text.split(" at line ").next().unwrap_or(&text);
    if error.is_data() { what.to_owned() } else { format!("{what} at column {}", error.column()) }
}

impl<'de: 'a, 'a> Deserialize<'de> for Object<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Object<'a>, D::Error> {
        deserializer.deserialize_map(Objects)
    }
}

struct Objects;

/// The members as they come; each may come once.
#[derive(Default)]
struct Members<'a> {
    topic: Option<Bytes<'a>>,
    key: Option<Option<Bytes<'a>>>,
    value: Option<Option<Bytes<'a>>>,
    headers: Option<Vec<(Bytes<'a>, Bytes<'a>)>>,
    fields: Option<Vec<(Bytes<'a>, Bytes<'a>)>>,
    null: Option<bool>,
}

impl<'de> Visitor<'de> for Objects {
    type Value = Object<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object, as --json prints them")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Object<'de>, A::Error> {
        let mut members = Members::default();
        while let Some(Name(name)) = map.next_key()? {
            let is_new = match name.as_ref() {
                "topic" => members.topic.replace(map.next_value::<Text<'de>>()?.0).is_none(),
                "topic_b64" => members.topic.replace(map.next_value::<Base64>()?.0).is_none(),
                "key" => members.key.replace(map.next_value::<Nullable<'de>>()?.0).is_none(),
                "key_b64" => members.key.replace(Some(map.next_value::<Base64>()?.0)).is_none(),
                "value" => members.value.replace(value_of(&mut map)?).is_none(),
                "value_b64" => members.value.replace(Some(map.next_value::<Base64>()?.0)).is_none(),
                "headers" => members.headers.replace(map.next_value::<Pairs<'de>>()?.0).is_none(),
                "fields" => members.fields.replace(map.next_value::<Pairs<'de>>()?.0).is_none(),
                "null" => members.null.replace(map.next_value()?).is_none(),
                "offset" | "id" | "time" => {
                    map.next_value::<IgnoredAny>()?;
                    true
                }
                other => return Err(A::Error::custom(format_args!("unknown member '{other}'"))),
            };
            if !is_new {
                return Err(A::Error::custom(format_args!("'{name}' is given twice")));
            }
        }
        members.into_object().map_err(A::Error::custom)
    }
}

fn value_of<'de, A: MapAccess<'de>>(map: &mut A) -> Result<Option<Bytes<'de>>, A::Error> {
    map.next_value::<Nullable<'de>>().map(|value| value.0).map_err(|error| {
        let what = error.to_string();
        A::Error::custom(format_args!(
            "value is neither a string nor null: {}",
            what.split(" at line ").next().unwrap_or_default()
        ))
    })
}

impl<'a> Members<'a> {
    fn into_object(self) -> Result<Object<'a>, &'static str> {
        if let Some(fields) = self.fields {
            if self.key.is_some() || self.headers.is_some() || self.value.is_some() {
                return Err("'fields' stands in place of key, headers and value, not beside them");
            }
            return Ok(Object { topic: self.topic, null: self.null.unwrap_or(false), fields });
        }
        if self.null.is_some() {
            return Err("'null' goes with 'fields'; elsewhere a tombstone is \"value\":null");
        }
        if self.key.is_none() && self.headers.is_none() && self.value.is_none() {
            return Err("an object without key, headers, value or fields");
        }
        let headers = self.headers.unwrap_or_default();
        if headers.iter().any(|(name, _)| matches!(name.as_ref(), b"key" | b"value")) {
            return Err("a header named key or value; such a record needs 'fields'");
        }
        let null = matches!(self.value, Some(None));
        let mut fields = Vec::with_capacity(headers.len() + 2);
        fields.extend(self.key.flatten().map(|key| (Cow::Borrowed(&b"key"[..]), key)));
        fields.extend(self.value.flatten().map(|value| (Cow::Borrowed(&b"value"[..]), value)));
        fields.extend(headers);
        Ok(Object { topic: self.topic, null, fields })
    }
}

/// A string.
struct Text<'a>(Bytes<'a>);

impl<'de> Deserialize<'de> for Text<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Text<'de>, D::Error> {
        Name::deserialize(deserializer).map(|name| Text(into_bytes(name)))
    }
}

fn into_bytes(name: Name<'_>) -> Bytes<'_> {
    match name.0 {
        Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
        Cow::Owned(text) => Cow::Owned(text.into_bytes()),
    }
}

/// A string or null.
struct Nullable<'a>(Option<Bytes<'a>>);

impl<'de> Deserialize<'de> for Nullable<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Nullable<'de>, D::Error> {
        Option::<Text<'de>>::deserialize(deserializer).map(|text| Nullable(text.map(|text| text.0)))
    }
}

/// A string that holds base64.
struct Base64(Bytes<'static>);

impl<'de> Deserialize<'de> for Base64 {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Base64, D::Error> {
        let Name(text) = Name::deserialize(deserializer)?;
        BASE64.decode(text.as_bytes()).map(|bytes| Base64(Cow::Owned(bytes))).map_err(|_| D::Error::custom("not base64"))
    }
}

/// `"text"` or `{"b64":"..."}`.
struct TextOrBase64<'a>(Bytes<'a>);

impl<'de> Deserialize<'de> for TextOrBase64<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<TextOrBase64<'de>, D::Error> {
        deserializer.deserialize_any(TextsOrBase64)
    }
}

struct TextsOrBase64;

impl<'de> Visitor<'de> for TextsOrBase64 {
    type Value = TextOrBase64<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string or {\"b64\":\"...\"}")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<TextOrBase64<'de>, E> {
        Ok(TextOrBase64(Cow::Borrowed(text.as_bytes())))
    }

    fn visit_str<E>(self, text: &str) -> Result<TextOrBase64<'de>, E> {
        Ok(TextOrBase64(Cow::Owned(text.as_bytes().to_vec())))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<TextOrBase64<'de>, A::Error> {
        let bytes = match map.next_key()? {
            Some(Name(name)) if name == "b64" => map.next_value::<Base64>()?.0,
            _ => return Err(A::Error::custom("an object that is not {\"b64\":\"...\"}")),
        };
        match map.next_key::<Name<'de>>()? {
            None => Ok(TextOrBase64(bytes)),
            Some(_) => Err(A::Error::custom("an object that is not {\"b64\":\"...\"}")),
        }
    }
}

/// `[[name, value], ...]`.
struct Pairs<'a>(Vec<(Bytes<'a>, Bytes<'a>)>);

impl<'de> Deserialize<'de> for Pairs<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Pairs<'de>, D::Error> {
        deserializer.deserialize_seq(PairLists)
    }
}

struct PairLists;

impl<'de> Visitor<'de> for PairLists {
    type Value = Pairs<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of [name, value]")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Pairs<'de>, A::Error> {
        let mut pairs = Vec::new();
        while let Some((name, value)) = seq.next_element::<(TextOrBase64<'de>, TextOrBase64<'de>)>()? {
            pairs.push((name.0, value.0));
        }
        Ok(Pairs(pairs))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Fields = Vec<(Vec<u8>, Vec<u8>)>;

    fn read(line: &str) -> (Fields, bool) {
        let object = parse(line.as_bytes()).unwrap_or_else(|error| panic!("{line}: {error}"));
        let fields = object.fields.iter().map(|(name, value)| (name.to_vec(), value.to_vec())).collect();
        (fields, object.null)
    }

    fn fields(list: &[(&[u8], &[u8])]) -> Fields {
        list.iter().map(|(name, value)| (name.to_vec(), value.to_vec())).collect()
    }

    #[test]
    fn key_value_and_headers_stand_in_this_order_whatever_the_lines_order() {
        let line = r#"{"topic":"a","offset":4,"id":"1-2","time":"2026-01-01T00:00:00.000Z","value":"v\n","headers":[["h","1"],["h",""]],"key":"k"}"#;
        assert_eq!(read(line), (fields(&[(b"key", b"k"), (b"value", b"v\n"), (b"h", b"1"), (b"h", b"")]), false));
        assert_eq!(parse(line.as_bytes()).expect("legal").topic.as_deref(), Some(&b"a"[..]));
    }

    #[test]
    fn null_empty_and_absent_differ() {
        assert_eq!(read(r#"{"key":null,"headers":[],"value":""}"#), (fields(&[(b"value", b"")]), false));
        assert_eq!(read(r#"{"key":"","headers":[],"value":null}"#), (fields(&[(b"key", b"")]), true));
        assert_eq!(read(r#"{"key":"k"}"#), (fields(&[(b"key", b"k")]), false));
        assert_eq!(read(r#"{"fields":[]}"#), (fields(&[]), false));
        assert_eq!(read(r#"{"fields":[["value","x"]],"null":true}"#), (fields(&[(b"value", b"x")]), true));
    }

    #[test]
    fn base64_stands_for_any_bytes() {
        let line =
            r#"{"key_b64":"/w==","headers":[[{"b64":"aP8"},{"b64":"gA=="}],["b64","x"]],"value_b64":"/v0=","topic_b64":"/w=="}"#;
        let expected = fields(&[(b"key", b"\xff"), (b"value", b"\xfe\xfd"), (b"h\xff", b"\x80"), (b"b64", b"x")]);
        assert_eq!(read(line), (expected, false));
        assert_eq!(parse(line.as_bytes()).expect("legal").topic.as_deref(), Some(&b"\xff"[..]));
    }

    #[test]
    fn fields_keep_order_and_repeats() {
        let line = r#"{"fields":[["value","v"],["key","a"],["key","b"]]}"#;
        assert_eq!(read(line), (fields(&[(b"value", b"v"), (b"key", b"a"), (b"key", b"b")]), false));
    }

    #[test]
    fn an_unknown_shape_is_refused_and_named() {
        for (line, word) in [
            ("", "EOF"),
            ("7", "object"),
            ("[]", "object"),
            ("{}", "without key"),
            (r#"{"topic":"t"}"#, "without key"),
            (r#"{"value":7}"#, "value is neither a string nor null"),
            (r#"{"value":{"a":1}}"#, "value is neither a string nor null"),
            (r#"{"value":"a","valu":"b"}"#, "unknown member 'valu'"),
            (r#"{"value":"a","value":"b"}"#, "twice"),
            (r#"{"value":"a","value_b64":"YQ=="}"#, "twice"),
            (r#"{"value_b64":"?"}"#, "base64"),
            (r#"{"key":7}"#, "string"),
            (r#"{"headers":[["a"]]}"#, "length"),
            (r#"{"headers":[["a","b","c"]]}"#, ""),
            (r#"{"headers":[["key","b"]]}"#, "fields"),
            (r#"{"headers":{"a":"b"}}"#, "array"),
            (r#"{"fields":[["a",{"b65":"x"}]]}"#, "b64"),
            (r#"{"fields":[],"value":"x"}"#, "in place"),
            (r#"{"value":"x","null":true}"#, "fields"),
            (r#"{"value":"a"} x"#, "trailing"),
            (r#"{"value":"a"}{"value":"b"}"#, "trailing"),
        ] {
            let error = parse(line.as_bytes()).expect_err(line);
            assert!(error.contains(word), "{line}: {error}");
            assert!(!error.contains(" at line "), "{line}: {error}");
        }
        assert!(parse(b"{\"value\":\"\xff\"}").is_err());
    }
}
