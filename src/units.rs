//! Sizes, durations and rates as people write them: `256MiB`, `1d12h`, `100/s`.

use std::fmt;
use std::time::Duration;

const SIZE_UNITS: [(&str, u64); 10] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("TB", 1_000_000_000_000),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("KB", 1_000),
    ("kB", 1_000),
    ("B", 1),
];

const DURATION_UNITS_MS: [(&str, u64); 5] = [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];

/// Reads a size in bytes: a whole number, with or without a unit. `MB` is 10^6, `MiB` is 2^20.
pub fn parse_size(text: &str) -> Result<u64, String> {
    let wrong = || format!("'{text}' is not a size: write a number of bytes, or one with a unit as 64KiB, 256MiB, 1GB");
    let (digits, unit) = split_number(text);
    let number: u64 = digits.parse().map_err(|_| wrong())?;
    if unit.is_empty() {
        return Ok(number);
    }
    let (_, scale) = SIZE_UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(wrong)?;
    number.checked_mul(*scale).ok_or_else(|| format!("'{text}' is larger than a size can be"))
}

/// Writes a size so that [`parse_size`] reads it back exactly: `256MiB`, `1500`.
#[must_use]
pub fn format_size(bytes: u64) -> String {
    let fitting = SIZE_UNITS.iter().find(|(_, scale)| *scale > 1 && bytes >= *scale && bytes.is_multiple_of(*scale));
    match fitting {
        Some((name, scale)) => format!("{}{name}", bytes / scale),
        None => bytes.to_string(),
    }
}

/// Reads a duration: one or more of `<number>ms|s|m|h|d`, largest unit first, as `1d12h`.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("'{text}' is not a duration: write it as 500ms, 30s, 10m, 2h, 7d or 1d12h");
    let mut rest = text;
    let mut total_ms: u64 = 0;
    let mut scale_before = u64::MAX;
    while !rest.is_empty() {
        let (digits, tail) = split_number(rest);
        let unit_bytes = tail.bytes().take_while(u8::is_ascii_alphabetic).count();
        let (unit, after) = tail.split_at(unit_bytes);
        let number: u64 = digits.parse().map_err(|_| wrong())?;
        let (_, scale) = DURATION_UNITS_MS.iter().find(|(name, _)| *name == unit).ok_or_else(wrong)?;
        if *scale >= scale_before {
            return Err(wrong());
        }
        scale_before = *scale;
        let part = number.checked_mul(*scale).ok_or_else(wrong)?;
        total_ms = total_ms.checked_add(part).ok_or_else(wrong)?;
        rest = after;
    }
    if text.is_empty() { Err(wrong()) } else { Ok(Duration::from_millis(total_ms)) }
}

/// Writes a duration so that [`parse_duration`] reads it back exactly (whole milliseconds).
#[must_use]
pub fn format_duration(duration: Duration) -> String {
    let mut rest = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    if rest == 0 {
        return "0ms".to_owned();
    }
    let mut text = String::new();
    for (unit, scale) in DURATION_UNITS_MS.iter().rev() {
        if rest >= *scale {
            text.push_str(&format!("{}{unit}", rest / scale));
            rest %= scale;
        }
    }
    text
}

/// Reads a rate: a whole number for each second, minute or hour, as `10/s`, `100/m`, `1000/h`. The
/// result is a number for each second.
pub fn parse_rate(text: &str) -> Result<f64, String> {
    let wrong = || format!("'{text}' is not a rate: write it as 10/s, 100/m or 1000/h");
    let (digits, unit) = split_number(text);
    let number: u64 = digits.parse().map_err(|_| wrong())?;
    let seconds = match unit {
        "/s" => 1.0,
        "/m" => 60.0,
        "/h" => 3600.0,
        _ => return Err(wrong()),
    };
    if number == 0 { Err(format!("'{text}' is no rate: nothing would ever be done")) } else { Ok(number as f64 / seconds) }
}

/// Reads a number of bytes a second, as `10MB/s`.
pub fn parse_byte_rate(text: &str) -> Result<u64, String> {
    let wrong = || format!("'{text}' is not a rate of bytes: write it as 500KB/s, 10MB/s or 64MiB/s");
    let size = text.strip_suffix("/s").ok_or_else(wrong)?;
    if split_number(size).1.is_empty() {
        // Elsewhere that is a rate of records.
        return Err(format!("'{text}' has no unit: write {size}B/s for bytes, or 500KB/s, 10MB/s, 64MiB/s"));
    }
    let bytes = parse_size(size).map_err(|_| wrong())?;
    if bytes == 0 { Err(format!("'{text}' is no rate: nothing would ever be done")) } else { Ok(bytes) }
}

/// So many records, or bytes, in a second, a minute or an hour. Kept as it was written: a rate is whole numbers, and no
/// fraction is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// How many.
    pub count: u64,
    /// In so many seconds: 1, 60 or 3600.
    pub seconds: u64,
}

/// Nothing is faster than this, and sums of it stay far from overflow.
pub const RATE_COUNT_MAX: u64 = 1_000_000_000_000_000;

const RATE_PERIODS: [(&str, u64); 3] = [("s", 1), ("m", 60), ("h", 3600)];

/// What a rate counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counted {
    /// Records.
    Records,
    /// Bytes.
    Bytes,
}

impl Rate {
    /// Reads `1000/s`, `100/m`, `10/h`: records; or `10MB/s`, `64KiB/m`, `1000B/s`: bytes.
    pub fn parse(text: &str) -> Result<(Rate, Counted), String> {
        let wrong = || format!("'{text}' is not a rate: write it as 1000/s or 100/m for records, 10MB/s for bytes");
        let (amount, period) = text.rsplit_once('/').ok_or_else(wrong)?;
        let (_, seconds) = RATE_PERIODS.iter().find(|(name, _)| *name == period).ok_or_else(wrong)?;
        let (digits, unit) = split_number(amount);
        let (count, counted) = match unit {
            "" => (digits.parse().map_err(|_| wrong())?, Counted::Records),
            _ => (parse_size(amount).map_err(|_| wrong())?, Counted::Bytes),
        };
        match count {
            0 => Err(format!("'{text}' is no rate: nothing would ever be done")),
            1..=RATE_COUNT_MAX => Ok((Rate { count, seconds: *seconds }, counted)),
            _ => Err(format!("'{text}' is more than a rate can be, which is 10^15")),
        }
    }

    /// Writes a rate of bytes: `10MB/s`.
    #[must_use]
    pub fn format_bytes(self) -> String {
        let size = format_size(self.count);
        // With a unit, so that it is not read as a rate of records.
        let unit = if size.bytes().all(|byte| byte.is_ascii_digit()) { "B" } else { "" };
        format!("{size}{unit}/{}", self.period())
    }

    fn period(self) -> &'static str {
        RATE_PERIODS.iter().find(|(_, seconds)| *seconds == self.seconds).map_or("s", |(name, _)| name)
    }
}

/// A rate of records: `1000/s`.
impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.count, self.period())
    }
}

fn split_number(text: &str) -> (&str, &str) {
    text.split_at(text.bytes().take_while(u8::is_ascii_digit).count())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_exact() {
        assert_eq!(parse_size("256MiB"), Ok(256 << 20));
        assert_eq!(parse_size("10MB"), Ok(10_000_000));
        assert_eq!(parse_size("0"), Ok(0));
        for bad in ["", "MiB", "-1", "1.5MB", "1 MB", "1mib", "99999999999TiB", "1e6"] {
            assert!(parse_size(bad).is_err(), "{bad}");
        }
        for bytes in [0, 1, 1000, 1024, 1 << 20, 3 << 30, 1_000_001] {
            assert_eq!(parse_size(&format_size(bytes)), Ok(bytes));
        }
    }

    #[test]
    fn rates_are_by_second_minute_or_hour() {
        assert_eq!(parse_rate("10/s"), Ok(10.0));
        assert_eq!(parse_rate("90/m"), Ok(1.5));
        assert_eq!(parse_rate("1800/h"), Ok(0.5));
        for bad in ["", "10", "/s", "0/s", "-1/s", "1/d", "1.5/s", "10 /s", "10/sec"] {
            assert!(parse_rate(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn rates_of_bytes_have_a_unit() {
        assert_eq!(parse_byte_rate("10MB/s"), Ok(10_000_000));
        assert_eq!(parse_byte_rate("10B/s"), Ok(10));
        for bad in ["10/s", "/s", "10MB", "0MB/s", "10MB/m", ""] {
            assert!(parse_byte_rate(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn rates_of_limits_count_records_or_bytes_exactly() {
        let rate = |text| Rate::parse(text).expect("legal");
        assert_eq!(rate("1000/s"), (Rate { count: 1000, seconds: 1 }, Counted::Records));
        assert_eq!(rate("1/h"), (Rate { count: 1, seconds: 3600 }, Counted::Records));
        assert_eq!(rate("10MB/s"), (Rate { count: 10_000_000, seconds: 1 }, Counted::Bytes));
        assert_eq!(rate("1KiB/m"), (Rate { count: 1024, seconds: 60 }, Counted::Bytes));
        for text in ["1000/s", "7/m", "1/h", "1000000000000/s"] {
            assert_eq!(rate(text).0.to_string(), text);
        }
        for text in ["10MB/s", "1KiB/m", "1001B/h"] {
            assert_eq!(rate(text).0.format_bytes(), text);
        }
        for bad in [
            "",
            "/s",
            "1000",
            "0/s",
            "0MB/s",
            "-1/s",
            "1/d",
            "1.5/s",
            "1 /s",
            "1/1s",
            "1e3/s",
            "9999999999999999/s",
            "99999TiB/s",
        ] {
            assert!(Rate::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn durations_compound_from_large_to_small() {
        assert_eq!(parse_duration("1d12h"), Ok(Duration::from_secs(36 * 3600)));
        assert_eq!(parse_duration("100ms"), Ok(Duration::from_millis(100)));
        assert_eq!(parse_duration("1m5s"), Ok(Duration::from_secs(65)));
        for bad in ["", "5", "h", "1h1d", "1s1s", "1.5s", "-1s", "99999999999999999999d", "5x"] {
            assert!(parse_duration(bad).is_err(), "{bad}");
        }
        for ms in [0, 1, 999, 1000, 61_001, 86_400_000] {
            let duration = Duration::from_millis(ms);
            assert_eq!(parse_duration(&format_duration(duration)), Ok(duration));
        }
    }
}
