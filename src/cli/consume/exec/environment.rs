//! What a command finds in its environment, and how much of it there is room for.

use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::fmt::Display;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};

use rustix::process::{Resource, getrlimit};

/// The longest `NAME=value` with its NUL that `execve` takes (`MAX_ARG_STRLEN` of Linux, at its smallest page).
const STRING_BYTES_MAX: usize = 128 << 10;
/// `execve` takes a quarter of the stack's limit, but never less than this and never more than
/// that (`bprm_stack_limits` of Linux).
const TOTAL_BYTES_MIN: usize = 128 << 10;
const TOTAL_BYTES_MAX: usize = 6 << 20;
/// Each string costs a pointer.
const POINTER_BYTES: usize = size_of::<usize>();

const HEADER_PREFIX: &str = "DRAVE_H_";
const NAMES: [&str; 5] = ["DRAVE_TOPIC", "DRAVE_OFFSET", "DRAVE_ID", "DRAVE_KEY", "DRAVE_ATTEMPT"];

/// The variables that tell a command about its record.
///
/// What a variable cannot hold is left out: values with NUL, and what `execve` finds too long. Of
/// headers whose variables have the same name the first counts, as everywhere with fields.
pub(crate) fn environment<'a>(
    topic: &str,
    offset: u64,
    id: impl Display,
    key: Option<&[u8]>,
    attempt: u64,
    headers: impl Iterator<Item = (&'a [u8], &'a [u8])>,
) -> Vec<(OsString, OsString)> {
    let [topic_name, offset_name, id_name, key_name, attempt_name] = NAMES;
    let mut variables = vec![
        (topic_name.into(), topic.into()),
        (offset_name.into(), offset.to_string().into()),
        (id_name.into(), id.to_string().into()),
        (attempt_name.into(), attempt.to_string().into()),
    ];
    if let Some(key) = key.filter(|key| can_hold(key_name, key)) {
        variables.push((key_name.into(), OsStr::from_bytes(key).to_owned()));
    }
    let mut seen = HashSet::new();
    for (name, value) in headers {
        let name = header_name(name);
        if can_hold(&name, value) && seen.insert(name.clone()) {
            variables.push((name.into(), OsString::from_vec(value.to_vec())));
        }
    }
    variables
}

/// The variables of a command that works on many records: those tell of themselves.
pub(crate) fn environment_of_batch(topic: &str) -> Vec<(OsString, OsString)> {
    let [topic_name, ..] = NAMES;
    vec![(topic_name.into(), topic.into())]
}

/// A character that is no ASCII letter or digit becomes one `_`, so the name holds neither `=` nor NUL.
fn header_name(name: &[u8]) -> String {
    let name = String::from_utf8_lossy(name);
    let plain = name.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' });
    HEADER_PREFIX.chars().chain(plain).collect()
}

fn can_hold(name: &str, value: &[u8]) -> bool {
    name.len() + value.len() + "=\0".len() <= STRING_BYTES_MAX && !value.contains(&0)
}

/// Of these names, those that tell of a record: a command that is run by `drave` may run `drave`,
/// and no record may wear the key of another.
pub(super) fn of_another_record(names: impl Iterator<Item = OsString>) -> Vec<OsString> {
    let is_ours = |name: &OsString| {
        let name = name.as_bytes();
        name.starts_with(HEADER_PREFIX.as_bytes()) || NAMES.iter().any(|ours| ours.as_bytes() == name)
    };
    names.filter(is_ours).collect()
}

/// How many bytes of variables may be added to our own for this command: half of what `execve`
/// takes, as what the command starts in its turn has arguments too, less what is there already.
pub(super) fn room(command: &[OsString]) -> usize {
    let stack = getrlimit(Resource::Stack).current.and_then(|bytes| usize::try_from(bytes).ok()).unwrap_or(usize::MAX);
    let limit = (stack / 4).clamp(TOTAL_BYTES_MIN, TOTAL_BYTES_MAX);
    let arguments: usize = command.iter().map(|word| word.len() + "\0".len() + POINTER_BYTES).sum();
    let inherited: usize = std::env::vars_os().map(|(name, value)| cost(&name, &value)).sum();
    (limit / 2).saturating_sub(arguments + inherited)
}

/// What a variable takes of the room.
pub(super) fn cost(name: &OsStr, value: &OsStr) -> usize {
    name.len() + value.len() + "=\0".len() + POINTER_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_headers(headers: &[(&[u8], &[u8])]) -> Vec<(String, Vec<u8>)> {
        let all = environment("t", 0, "1-0", None, 1, headers.iter().copied());
        all.into_iter().skip(4).map(|(name, value)| (name.into_string().expect("ASCII"), value.into_vec())).collect()
    }

    #[test]
    fn names_of_headers_are_made_of_letters_digits_and_underscores() {
        let odd: [(&[u8], &[u8]); 6] =
            [(b"Content-Type", b"a"), ("käse 2".as_bytes(), b"b"), (b"x=y", b"c"), (b"n\0l", b"d"), (b"\xff", b"e"), (b"", b"f")];
        let names: Vec<String> = of_headers(&odd).into_iter().map(|(name, _)| name).collect();
        let expected =
            ["DRAVE_H_CONTENT_TYPE", "DRAVE_H_K_SE_2", "DRAVE_H_X_Y", "DRAVE_H_N_L", "DRAVE_H__", "DRAVE_H_"].map(str::to_owned);
        assert_eq!(names, expected);
    }

    #[test]
    fn of_headers_with_one_name_the_first_that_can_be_held_counts() {
        let held = of_headers(&[(b"a-b", b"\0"), (b"a-b", b"first"), (b"A.B", b"second")]);
        assert_eq!(held, [("DRAVE_H_A_B".to_owned(), b"first".to_vec())]);
    }

    #[test]
    fn a_key_that_cannot_be_held_is_left_out() {
        let with_key = |key: Option<&[u8]>| environment("t", 0, "1-0", key, 1, std::iter::empty()).len();
        assert_eq!(with_key(Some(b"")), 5);
        assert_eq!(with_key(Some(b"\xff=\n")), 5);
        assert_eq!(with_key(None), 4);
        assert_eq!(with_key(Some(b"a\0b")), 4);
        assert_eq!(with_key(Some(&[b'x'; STRING_BYTES_MAX])), 4);
    }

    #[test]
    fn what_tells_of_another_record_is_told_from_all_else() {
        let names = ["DRAVE_STORE", "DRAVE_KEY", "DRAVE_H_X", "DRAVE_KEYS", "PATH"].map(OsString::from);
        assert_eq!(of_another_record(names.into_iter()), ["DRAVE_KEY", "DRAVE_H_X"]);
    }
}
