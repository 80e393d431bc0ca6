//! A path to one member of a JSON text, as jq writes it: `.a.b`, `.a["b.c"]`, `.a[0]`.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

/// A parsed path. It is applied while the text is read: nothing is built but what it leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct KeyPath(Vec<Step>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    Member(String),
    Element(usize),
}

impl KeyPath {
    /// Reads a path.
    pub(crate) fn parse(text: &str) -> Result<KeyPath, String> {
        let wrong = |why: &str| format!("{why}; write a path as .a.b, .a[\"b.c\"] or .a[0]");
        let mut steps = Vec::new();
        let mut rest = text;
        while !rest.is_empty() {
            if let Some(after) = rest.strip_prefix('[').or_else(|| rest.strip_prefix(".[")) {
                let (step, after) = bracketed(after).map_err(|why| wrong(&why))?;
                steps.push(step);
                rest = after;
            } else if let Some(after) = rest.strip_prefix('.') {
                let end = after.find(['.', '[', ']', '"']).unwrap_or(after.len());
                if end == 0 {
                    return Err(wrong("a name is missing after '.'"));
                }
                steps.push(Step::Member(after[..end].to_owned()));
                rest = &after[end..];
            } else {
                return Err(wrong("a path begins with '.'"));
            }
        }
        if steps.is_empty() { Err(wrong("the path is empty")) } else { Ok(KeyPath(steps)) }
    }

    /// What the path leads to in `json`: the bytes of a string; anything else as the JSON text that
    /// stands there. `None` when it leads nowhere, or to null.
    pub(crate) fn find<'j>(&self, json: &'j [u8]) -> Result<Option<Cow<'j, [u8]>>, String> {
        let mut deserializer = serde_json::Deserializer::from_slice(json);
        let found = Walk(&self.0).deserialize(&mut deserializer).and_then(|found| deserializer.end().map(|()| found));
        let raw = found.map_err(|error| format!("not JSON: {}", super::ndjson::words(&error)))?;
        let Some(text) = raw.map(RawValue::get).filter(|text| *text != "null") else { return Ok(None) };
        if !text.starts_with('"') {
            return Ok(Some(Cow::Borrowed(text.as_bytes())));
        }
        let inner = &text[1..text.len() - 1];
        if !inner.contains('\\') {
            return Ok(Some(Cow::Borrowed(inner.as_bytes())));
        }
        let string: String = serde_json::from_str(text).map_err(|error| format!("not JSON: {}", super::ndjson::words(&error)))?;
        Ok(Some(Cow::Owned(string.into_bytes())))
    }
}

/// What stands after `[`: `0]` or `"name"]`.
fn bracketed(text: &str) -> Result<(Step, &str), String> {
    if text.starts_with('"') {
        let mut strings = serde_json::Deserializer::from_str(text).into_iter::<String>();
        let name = match strings.next() {
            Some(Ok(name)) => name,
            _ => return Err("a quoted name does not end".to_owned()),
        };
        let after = &text[strings.byte_offset()..];
        let after = after.strip_prefix(']').ok_or("']' is missing")?;
        return Ok((Step::Member(name), after));
    }
    let (digits, after) = text.split_once(']').ok_or("']' is missing")?;
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    match digits.parse() {
        Ok(index) if is_number => Ok((Step::Element(index), after)),
        _ => Err(format!("'{digits}' is no index")),
    }
}

/// Follows the steps into the value that is read next.
#[derive(Clone, Copy)]
struct Walk<'p>(&'p [Step]);

impl<'de> DeserializeSeed<'de> for Walk<'_> {
    type Value = Option<&'de RawValue>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        if self.0.is_empty() {
            <&RawValue as serde::Deserialize>::deserialize(deserializer).map(Some)
        } else {
            deserializer.deserialize_any(self)
        }
    }
}

impl<'de> Visitor<'de> for Walk<'_> {
    type Value = Option<&'de RawValue>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let wanted = match self.0.first() {
            Some(Step::Member(name)) => Some(name.as_str()),
            _ => None,
        };
        let mut found = None;
        while let Some(Name(name)) = map.next_key()? {
            if Some(name.as_ref()) == wanted {
                // Of members of one name the last one counts, as everywhere.
                found = map.next_value_seed(Walk(&self.0[1..]))?;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(found)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let wanted = match self.0.first() {
            Some(Step::Element(index)) => Some(*index),
            _ => None,
        };
        let mut found = None;
        let mut index = 0;
        loop {
            if Some(index) == wanted {
                match seq.next_element_seed(Walk(&self.0[1..]))? {
                    Some(value) => found = value,
                    None => return Ok(found),
                }
            } else if seq.next_element::<IgnoredAny>()?.is_none() {
                return Ok(found);
            }
            index += 1;
        }
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_str<E>(self, _: &str) -> Result<Self::Value, E> {
        Ok(None)
    }
}

/// A string that is borrowed where the text has no escapes in it.
pub(crate) struct Name<'de>(pub(crate) Cow<'de, str>);

impl<'de> serde::Deserialize<'de> for Name<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Name<'de>, D::Error> {
        struct Strings;
        impl<'de> Visitor<'de> for Strings {
            type Value = Name<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Name<'de>, E> {
                Ok(Name(Cow::Borrowed(text)))
            }

            fn visit_str<E>(self, text: &str) -> Result<Name<'de>, E> {
                Ok(Name(Cow::Owned(text.to_owned())))
            }
        }
        deserializer.deserialize_str(Strings)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &str, json: &str) -> Result<Option<String>, String> {
        let path = KeyPath::parse(path).expect("a legal path");
        let found = path.find(json.as_bytes())?;
        Ok(found.map(|bytes| String::from_utf8(bytes.into_owned()).expect("UTF-8")))
    }

    fn is(path: &str, json: &str, expected: &str) {
        assert_eq!(found(path, json), Ok(Some(expected.to_owned())), "{path} in {json}");
    }

    #[test]
    fn a_path_leads_to_a_member() {
        is(".a.b", r#"{"x":[1,{"a":2}],"a":{"b":"yes"},"c":3}"#, "yes");
        is(r#".a["b.c"]"#, r#"{"a":{"b.c":"dots"}}"#, "dots");
        is(r#".["a"][1].b"#, r#" {"a":[0,{"b":"deep"}]} "#, "deep");
        is(".a[0]", r#"{"a":["first"]}"#, "first");
        is("._SYSTEMD_UNIT", r#"{"_SYSTEMD_UNIT":"ssh.service"}"#, "ssh.service");
        is(".a", r#"{"a":"say \"hi\" \u00fc\n"}"#, "say \"hi\" ü\n");
        is(".a", r#"{"a":"one","a":"two"}"#, "two");
        is(".a", r#"{"a":""}"#, "");
        is(r#"["a]\"b"]"#, r#"{"a]\"b":"odd"}"#, "odd");
    }

    #[test]
    fn what_is_not_a_string_is_its_text() {
        is(".a", r#"{"a":12345678901234567890123}"#, "12345678901234567890123");
        is(".a", r#"{"a":1.50}"#, "1.50");
        is(".a", r#"{"a":true}"#, "true");
        is(".a", r#"{"a":{"b":[1, 2]}}"#, r#"{"b":[1, 2]}"#);
    }

    #[test]
    fn what_is_absent_or_null_is_no_key() {
        for json in [r#"{"a":null}"#, "{}", "[]", "7", "\"a\"", "null", "true", "-1", "1.5", r#"{"b":"x"}"#] {
            assert_eq!(found(".a", json), Ok(None), "{json}");
        }
        assert_eq!(found(".a[5]", r#"{"a":[1]}"#), Ok(None));
        assert_eq!(found(".a.b", r#"{"a":"text"}"#), Ok(None));
    }

    #[test]
    fn a_text_that_is_not_json_is_refused_wherever_it_breaks() {
        for json in ["", "{", r#"{"a":"x"} {"#, r#"{"a":"x",}"#, "plain", r#"{"a":"\x"}"#] {
            assert!(found(".a", json).is_err(), "{json}");
        }
        let path = KeyPath::parse(".a").expect("legal");
        assert!(path.find(b"{\"a\":\"\xff\"}").is_err());
    }

    #[test]
    fn a_bad_path_is_refused() {
        for path in ["", "a", ".", ".a.", ".a[", ".a[x]", ".a[-1]", ".a[\"b]", ".a[\"b\"", ".a]b", "..a", ".a[+1]", ".a\"b\""] {
            assert!(KeyPath::parse(path).is_err(), "{path}");
        }
    }
}
