//! Durations as Go writes them (`15m`, `1h30m`, `1.5s`): the form of `metav1.Duration`.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A length of time, never negative; at most the 292 years that Go can hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GoDuration(Duration);

/// Why a string is not a duration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not a duration: write numbers with units h, m, s, ms, us or ns, such as 15m or 1h30m"
)]
pub struct DurationError(String);

/// Units, longest first where one begins like another, with their nanoseconds.
const UNITS: [(&str, u64); 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000),
    ("μs", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

impl GoDuration {
    /// Whole seconds.
    pub const fn from_secs(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }

    /// Whole minutes.
    pub const fn from_mins(minutes: u64) -> Self {
        Self(Duration::from_secs(minutes * 60))
    }

    /// As the standard library's type.
    pub const fn get(self) -> Duration {
        self.0
    }

    /// Whole seconds, the fraction dropped.
    pub const fn as_secs(self) -> u64 {
        self.0.as_secs()
    }

    /// Whole milliseconds, saturating.
    pub fn as_millis(self) -> i64 {
        i64::try_from(self.0.as_millis()).unwrap_or(i64::MAX)
    }

    /// Parses what Go's `time.ParseDuration` parses, less negative durations.
    pub fn parse(text: &str) -> Result<Self, DurationError> {
        let error = || DurationError(text.to_owned());
        let unsigned = text.strip_prefix('+').unwrap_or(text);
        if unsigned == "0" {
            return Ok(Self::default());
        }
        if unsigned.is_empty() {
            return Err(error());
        }
        let (mut rest, mut sum) = (unsigned, 0_u64);
        while !rest.is_empty() {
            let (nanos, after) = element(rest).ok_or_else(error)?;
            sum = sum.checked_add(nanos).ok_or_else(error)?;
            rest = after;
        }
        i64::try_from(sum).map_err(|_| error())?;
        Ok(Self(Duration::from_nanos(sum)))
    }
}

/// One number with its unit, in nanoseconds, and what follows it.
fn element(text: &str) -> Option<(u64, &str)> {
    let digits = |text: &str| {
        text.find(|c: char| !c.is_ascii_digit())
            .unwrap_or(text.len())
    };
    let (whole, rest) = text.split_at(digits(text));
    let (fraction, rest) = match rest.strip_prefix('.') {
        Some(rest) => rest.split_at(digits(rest)),
        None => ("", rest),
    };
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let (unit, nanos_per_unit) = UNITS.iter().find(|(unit, _)| rest.starts_with(unit))?;
    let whole = if whole.is_empty() {
        0
    } else {
        whole.parse::<u64>().ok()?
    };
    // More digits than u128 can carry are far below a nanosecond, and those are dropped as in Go.
    let fraction = &fraction[..fraction.len().min(18)];
    let numerator = fraction
        .bytes()
        .fold(0_u128, |sum, digit| sum * 10 + u128::from(digit - b'0'));
    let scale = 10_u128.pow(u32::try_from(fraction.len()).ok()?);
    let below = u64::try_from(numerator * u128::from(*nanos_per_unit) / scale).ok()?;
    let nanos = whole.checked_mul(*nanos_per_unit)?.checked_add(below)?;
    Some((nanos, rest.strip_prefix(unit)?))
}

impl From<Duration> for GoDuration {
    fn from(duration: Duration) -> Self {
        Self(duration)
    }
}

impl From<GoDuration> for Duration {
    fn from(duration: GoDuration) -> Self {
        duration.0
    }
}

impl FromStr for GoDuration {
    type Err = DurationError;

    fn from_str(text: &str) -> Result<Self, DurationError> {
        Self::parse(text)
    }
}

impl fmt::Display for GoDuration {
    /// As people write it: `15m`, `1h30m`, `1.5s`, without Go's trailing `0s`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let total = self.0.as_secs();
        let nanos = self.0.subsec_nanos();
        if total == 0 && nanos > 0 {
            let (scale, unit) = match nanos {
                1_000_000.. => (1_000_000, "ms"),
                1_000.. => (1_000, "us"),
                _ => (1, "ns"),
            };
            return write!(f, "{}{unit}", decimal(nanos / scale, nanos % scale, scale));
        }
        let (hours, minutes, seconds) = (total / 3600, total / 60 % 60, total % 60);
        if hours > 0 {
            write!(f, "{hours}h")?;
        }
        if minutes > 0 {
            write!(f, "{minutes}m")?;
        }
        if seconds > 0 || nanos > 0 {
            let seconds = u32::try_from(seconds).unwrap_or_default();
            write!(f, "{}s", decimal(seconds, nanos, 1_000_000_000))?;
        }
        if total == 0 && nanos == 0 {
            f.write_str("0s")?;
        }
        Ok(())
    }
}

/// `whole.fraction` without trailing zeros, where the fraction counts in 1/`scale`.
fn decimal(whole: u32, fraction: u32, scale: u32) -> String {
    if fraction == 0 {
        return whole.to_string();
    }
    let places = scale.ilog10() as usize;
    let digits = format!("{fraction:0places$}");
    format!("{whole}.{}", digits.trim_end_matches('0'))
}

impl Serialize for GoDuration {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for GoDuration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<'_, str>::deserialize(deserializer)?;
        Self::parse(&text).map_err(de::Error::custom)
    }
}

impl JsonSchema for GoDuration {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Duration".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "description": "A duration such as 15m or 1h30m.",
            "maxLength": 64,
            "pattern": r"^(0|([0-9]+(\.[0-9]*)?(ns|us|µs|ms|s|m|h))+)$",
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn parses_as_go() {
        for (text, nanos) in [
            ("0", 0),
            ("5s", 5_000_000_000),
            ("+5s", 5_000_000_000),
            ("15m", 900_000_000_000),
            ("1h30m", 5_400_000_000_000),
            ("168h", 604_800_000_000_000),
            ("1.5s", 1_500_000_000),
            (".5s", 500_000_000),
            ("1.s", 1_000_000_000),
            ("5.6s", 5_600_000_000),
            ("0.25h", 900_000_000_000),
            ("10.5s4m", 250_500_000_000),
            ("2m3.4s", 123_400_000_000),
            ("1ns", 1),
            ("11us", 11_000),
            ("12µs", 12_000),
            ("13ms", 13_000_000),
            ("1.000000001s", 1_000_000_001),
            ("0.1us", 100),
        ] {
            let parsed = GoDuration::parse(text).expect(text);
            assert_eq!(parsed.get().as_nanos(), nanos, "{text}");
        }
        for text in [
            "", "3", "-5s", "s", ".", ".s", "1 s", "3000000h", "1x", "1h-2m", "٣s",
        ] {
            assert!(GoDuration::parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn prints_short() {
        for (text, printed) in [
            ("0", "0s"),
            ("900s", "15m"),
            ("90m", "1h30m"),
            ("3601s", "1h1s"),
            ("1500ms", "1.5s"),
            ("1500us", "1.5ms"),
            ("1100ns", "1.1us"),
            ("7ns", "7ns"),
            ("60.25s", "1m0.25s"),
        ] {
            assert_eq!(GoDuration::parse(text).expect(text).to_string(), printed);
        }
    }

    proptest! {
        #[test]
        fn print_then_parse_is_the_same(nanos in 0_u64..=i64::MAX as u64) {
            let duration = GoDuration(Duration::from_nanos(nanos));
            prop_assert_eq!(GoDuration::parse(&duration.to_string()), Ok(duration));
        }
    }
}
