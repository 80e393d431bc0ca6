//! Positions and ranges, as people write them.

use drave::clock::Clock;
use drave::engine::Position;
use drave::ids::{Offset, RecordId, TimestampMs};
use drave::units;
use jiff::civil::{Date, DateTime, Time};
use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};

/// The forms of a position, for help texts.
pub(crate) const POSITIONS_HELP: &str = "\
Positions:
  start, end                    where the topic begins and ends
  123                           an offset
  -10, +10                      ten records before the end, ten after the start
  1700000000000-0               a record ID
  group:NAME                    the committed offset of a group
  @2h, @1d12h                   the first record not older than this
  @2026-01-31                   the first record of this day; also @2026-01-31T10:00, @2026-01-31T10:00Z
  @10:00                        the same, today
  @1700000000                   the same, seconds since 1970; 13 digits: milliseconds
Times without a zone are local (TZ).";

/// Reads a position. What is relative to now is relative to the moment of the call.
///
/// # Errors
/// A sentence that names what is wrong with `text`.
pub(crate) fn parse(text: &str) -> Result<Position, String> {
    parse_at(text, &now()?)
}

/// From where to where, half-open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Range {
    /// The first record.
    pub(crate) from: Position,
    /// The first record after it.
    pub(crate) until: Position,
}

/// Reads `A..B`; without A it begins at the start, without B it ends at the end.
///
/// # Errors
/// A sentence that names what is wrong with `text`.
pub(crate) fn parse_range(text: &str) -> Result<Range, String> {
    parse_range_at(text, &now()?)
}

fn now() -> Result<Zoned, String> {
    let now_ms = Clock::system().now().0;
    let timestamp = i64::try_from(now_ms).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok());
    let timestamp = timestamp.ok_or("the clock of this machine shows no usable time")?;
    Ok(timestamp.to_zoned(TimeZone::system()))
}

fn parse_range_at(text: &str, now: &Zoned) -> Result<Range, String> {
    let (from, until) =
        text.split_once("..").ok_or_else(|| format!("'{text}' is not a range: write FROM..UNTIL, as 100..200 or @2h..end"))?;
    let part = |text: &str, default| if text.is_empty() { Ok(default) } else { parse_at(text, now) };
    Ok(Range { from: part(from, Position::Start)?, until: part(until, Position::End)? })
}

fn parse_at(text: &str, now: &Zoned) -> Result<Position, String> {
    let wrong = || {
        format!(
            "'{text}' is not a position: write start, end, an offset (123), -10, +10, an ID (1700000000000-0), \
             group:NAME or a time (@2h, @2026-01-31T10:00, @1700000000)"
        )
    };
    match text {
        "start" => return Ok(Position::Start),
        "end" => return Ok(Position::End),
        _ => {}
    }
    if let Some(name) = text.strip_prefix("group:") {
        return if name.is_empty() {
            Err("group: is followed by the name of a group, as group:workers".to_owned())
        } else {
            Ok(Position::Group(name.as_bytes().to_vec()))
        };
    }
    if let Some(time) = text.strip_prefix('@') {
        return parse_time(time, now).map(Position::Time);
    }
    if let Some(count) = text.strip_prefix('-') {
        return parse_number(count).map(Position::BeforeEnd).ok_or_else(wrong);
    }
    if let Some(count) = text.strip_prefix('+') {
        return parse_number(count).map(Position::AfterStart).ok_or_else(wrong);
    }
    if let Ok(id) = text.parse::<RecordId>() {
        return Ok(Position::Id(id));
    }
    parse_number(text).map(|offset| Position::At(Offset(offset))).ok_or_else(wrong)
}

/// Decimal digits only: what `u64::from_str` allows beyond them, a sign, has its own meaning here.
fn parse_number(text: &str) -> Option<u64> {
    if text.bytes().all(|byte| byte.is_ascii_digit()) { text.parse().ok() } else { None }
}

/// What follows the `@`.
fn parse_time(text: &str, now: &Zoned) -> Result<TimestampMs, String> {
    let wrong = || {
        format!(
            "'@{text}' is not a time: write how long ago (@2h, @1d12h), a day or a moment (@2026-01-31, \
             @2026-01-31T10:00, @2026-01-31T10:00Z, @10:00) or seconds since 1970 (@1700000000)"
        )
    };
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        let number: u64 = text.parse().map_err(|_| wrong())?;
        return match text.len() {
            0..=12 => Ok(TimestampMs(number * 1000)),
            13 => Ok(TimestampMs(number)),
            _ => Err(format!("'@{text}' has too many digits: up to 12 are seconds since 1970, 13 are milliseconds")),
        };
    }
    if let Ok(ago) = units::parse_duration(text) {
        let ago_ms = u64::try_from(ago.as_millis()).unwrap_or(u64::MAX);
        let now_ms = u64::try_from(now.timestamp().as_millisecond()).unwrap_or(0);
        return Ok(TimestampMs(now_ms.saturating_sub(ago_ms)));
    }
    let moment = parse_moment(text, now).ok_or_else(wrong)?;
    Ok(first_ms_not_before(moment))
}

/// A day, a time of day, or both, in a zone that is written or the local one.
fn parse_moment(text: &str, now: &Zoned) -> Option<Timestamp> {
    let (bare, zone) = match text.strip_suffix(['Z', 'z']) {
        Some(bare) => (bare, TimeZone::UTC),
        None => (text, now.time_zone().clone()),
    };
    let is_digit_at = |index: usize| bare.as_bytes().get(index).is_some_and(u8::is_ascii_digit);
    if bare.as_bytes().get(4) != Some(&b'-') {
        // jiff would read "10" and "1000" too, which look like numbers here.
        if !bare.contains(':') || bare.contains(['-', '+', '[']) || !is_digit_at(0) {
            return None;
        }
        let time: Time = bare.parse().ok()?;
        return Some(now.with_time_zone(zone.clone()).date().to_datetime(time).to_zoned(zone).ok()?.timestamp());
    }
    if bare.len() <= 10 {
        // A day begins when its first moment does, which is not midnight everywhere.
        return Some(bare.parse::<Date>().ok()?.to_zoned(zone).ok()?.timestamp());
    }
    let after_day = bare.get(10..)?;
    if after_day.contains('[') {
        return Some(text.parse::<Zoned>().ok()?.timestamp());
    }
    // jiff ignores an offset when it is asked for a civil time.
    if after_day.contains(['+', '-']) {
        return if bare.len() == text.len() { text.parse().ok() } else { None };
    }
    Some(bare.parse::<DateTime>().ok()?.to_zoned(zone).ok()?.timestamp())
}

/// IDs count whole milliseconds. Before 1970 there are no records.
fn first_ms_not_before(moment: Timestamp) -> TimestampMs {
    let ms = moment.as_nanosecond().max(0).unsigned_abs().div_ceil(1_000_000);
    TimestampMs(u64::try_from(ms).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn berlin() -> Zoned {
        // 2026-07-15T12:30:00+02:00
        "2026-07-15T12:30:00[Europe/Berlin]".parse().expect("a zone of the time zone database")
    }

    fn ms(text: &str) -> Position {
        let moment: Timestamp = text.parse().expect("a moment");
        Position::Time(TimestampMs(u64::try_from(moment.as_millisecond()).expect("after 1970")))
    }

    #[test]
    fn places_in_the_log_are_read() {
        let now = berlin();
        for (text, position) in [
            ("start", Position::Start),
            ("end", Position::End),
            ("0", Position::At(Offset(0))),
            ("123", Position::At(Offset(123))),
            ("-10", Position::BeforeEnd(10)),
            ("+10", Position::AfterStart(10)),
            ("1700000000000-0", Position::Id(RecordId { ms: 1_700_000_000_000, seq: 0 })),
            ("0-1", Position::Id(RecordId { ms: 0, seq: 1 })),
            ("group:workers", Position::Group(b"workers".to_vec())),
            ("group:a:b", Position::Group(b"a:b".to_vec())),
        ] {
            assert_eq!(parse_at(text, &now), Ok(position), "{text}");
        }
    }

    #[test]
    fn times_are_read_in_the_zone_that_applies() {
        let now = berlin();
        for (text, moment) in [
            ("@2h", "2026-07-15T08:30:00Z"),
            ("@1d12h", "2026-07-13T22:30:00Z"),
            ("@2026-01-31", "2026-01-30T23:00:00Z"),
            ("@2026-01-31Z", "2026-01-31T00:00:00Z"),
            ("@2026-01-31T10:00", "2026-01-31T09:00:00Z"),
            ("@2026-01-31 10:00", "2026-01-31T09:00:00Z"),
            ("@2026-01-31T10:00:01.5", "2026-01-31T09:00:01.5Z"),
            ("@2026-01-31T10:00:01.0001Z", "2026-01-31T10:00:01.001Z"),
            ("@2026-01-31T10:00Z", "2026-01-31T10:00:00Z"),
            ("@2026-01-31T10:00z", "2026-01-31T10:00:00Z"),
            ("@2026-01-31T10:00-05:00", "2026-01-31T15:00:00Z"),
            ("@2026-01-31T10:00+05:00", "2026-01-31T05:00:00Z"),
            ("@2026-01-31T10:00[America/New_York]", "2026-01-31T15:00:00Z"),
            ("@10:00", "2026-07-15T08:00:00Z"),
            ("@10:00:30", "2026-07-15T08:00:30Z"),
            ("@10:00Z", "2026-07-15T10:00:00Z"),
            ("@1700000000", "2023-11-14T22:13:20Z"),
            ("@1700000000123", "2023-11-14T22:13:20.123Z"),
            ("@0", "1970-01-01T00:00:00Z"),
        ] {
            assert_eq!(parse_at(text, &now), Ok(ms(moment)), "{text}");
        }
    }

    #[test]
    fn a_time_that_does_not_exist_is_the_one_after_the_gap() {
        // The clocks went from 02:00 to 03:00.
        assert_eq!(parse_at("@2026-03-29T02:30", &berlin()), Ok(ms("2026-03-29T01:30:00Z")));
    }

    #[test]
    fn before_1970_there_is_nothing_to_skip() {
        assert_eq!(parse_at("@1969-01-01", &berlin()), Ok(Position::Time(TimestampMs(0))));
        assert_eq!(parse_at("@99999d", &berlin()), Ok(Position::Time(TimestampMs(0))));
    }

    #[test]
    fn what_is_no_position_is_refused_by_name() {
        let now = berlin();
        for text in [
            "",
            " ",
            "-",
            "+",
            "--1",
            "+-1",
            "-+1",
            "1.5",
            "1e3",
            "abc",
            "Start",
            "-1-2",
            "1-",
            "1-2-3",
            "group:",
            "@",
            "@2x",
            "@2026-13-01",
            "@2026-01-32",
            "@25:00",
            "@2026-01-31T",
            "@2026-01-31T25:00",
            "@12345678901234",
            "@-5",
            "@+5",
            "@2026-01-31T10:00+02:00Z",
            "@10:00+02:00",
            "@1h ",
            "18446744073709551616",
            "٣",
            "@٣",
            "@äöüß-",
        ] {
            let refusal = parse_at(text, &now);
            assert!(refusal.is_err(), "{text} {refusal:?}");
        }
        // Twelve digits are seconds, far in the future.
        assert_eq!(parse_at("@202601311000", &now), Ok(Position::Time(TimestampMs(202_601_311_000_000))));
        assert!(parse_at("abc", &now).expect_err("refused").starts_with("'abc' is not a position"));
        assert!(parse_at("@abc", &now).expect_err("refused").starts_with("'@abc' is not a time"));
    }

    #[test]
    fn ranges_have_two_ends() {
        let now = berlin();
        let range = |from, until| Ok(Range { from, until });
        assert_eq!(parse_range_at("1..5", &now), range(Position::At(Offset(1)), Position::At(Offset(5))));
        assert_eq!(parse_range_at("-10..end", &now), range(Position::BeforeEnd(10), Position::End));
        assert_eq!(parse_range_at("@1h..end", &now), range(ms("2026-07-15T09:30:00Z"), Position::End));
        assert_eq!(parse_range_at("5..", &now), range(Position::At(Offset(5)), Position::End));
        assert_eq!(parse_range_at("..5", &now), range(Position::Start, Position::At(Offset(5))));
        for bad in ["5", "", "5-7", "a..b", "1...5", "1..5..7"] {
            assert!(parse_range_at(bad, &now).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parser_panic(text in "\\PC*", time in "@[0-9TZ:.+\\[\\]-]{0,24}") {
            let _ = parse_at(&text, &berlin());
            let _ = parse_at(&time, &berlin());
            let _ = parse_range_at(&text, &berlin());
        }
    }
}
