//! Patterns of names: `* ? [ab] [^a] [a-z] \x`.

/// Whether all of `text` is what `pattern` stands for, byte by byte, case-sensitive.
///
/// `*` stands for any bytes, `?` for one, `[...]` for one of those within, of which `a-z` are a range
/// and a leading `^` means none of them, `\` for the byte behind it as it is. A bracket that is never
/// closed ends with the pattern. As in Redis an empty text is matched by an empty pattern only.
///
/// A failure only ever goes back to the last `*`: at worst it takes `pattern.len() * text.len()` steps.
#[must_use]
pub fn matches(pattern: &[u8], text: &[u8]) -> bool {
    if text.is_empty() {
        return pattern.is_empty();
    }
    let (mut pattern, mut text) = (pattern, text);
    // What follows the last star, and the text that it has not been tried on.
    let mut star: Option<(&[u8], &[u8])> = None;
    loop {
        if let [b'*', rest @ ..] = pattern {
            if rest.is_empty() {
                return true;
            }
            (pattern, star) = (rest, Some((rest, text)));
            continue;
        }
        let Some((&byte, after)) = text.split_first() else {
            // The less text is left, the less it matches: going back to the star helps no more.
            return pattern.is_empty();
        };
        if let Some(rest) = one(pattern, byte) {
            (pattern, text) = (rest, after);
            continue;
        }
        let Some((behind, tried)) = star else { return false };
        let Some((_, untried)) = tried.split_first() else { return false };
        (pattern, text, star) = (behind, untried, Some((behind, untried)));
    }
}

/// What follows the first element of `pattern`, if that stands for `byte`.
fn one(pattern: &[u8], byte: u8) -> Option<&[u8]> {
    match pattern {
        [] => None,
        [b'?', rest @ ..] => Some(rest),
        [b'[', rest @ ..] => class(rest, byte),
        [b'\\', escaped, rest @ ..] => (*escaped == byte).then_some(rest),
        [plain, rest @ ..] => (*plain == byte).then_some(rest),
    }
}

/// As [`one`], behind the opening bracket.
fn class(pattern: &[u8], byte: u8) -> Option<&[u8]> {
    let (negated, mut pattern) = match pattern {
        [b'^', rest @ ..] => (true, rest),
        rest => (false, rest),
    };
    let mut found = false;
    let rest = loop {
        pattern = match pattern {
            [] => break pattern,
            [b'\\', escaped, rest @ ..] => {
                found |= *escaped == byte;
                rest
            }
            [b']', rest @ ..] => break rest,
            [first, b'-', last, rest @ ..] => {
                found |= (*first.min(last)..=*first.max(last)).contains(&byte);
                rest
            }
            [plain, rest @ ..] => {
                found |= *plain == byte;
                rest
            }
        };
    };
    (found != negated).then_some(rest)
}
