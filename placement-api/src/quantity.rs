//! Kubernetes quantities (`500m`, `32Gi`, `1e3`), exactly as `k8s.io/apimachinery` reads, rounds, compares and prints
//! them. The amount is an integer number of nano-units, so nothing is ever rounded but what Kubernetes rounds too.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

pub use crate::resources::{ResourceList, ResourceVector};

const NANOS: i128 = 1_000_000_000;
const NANOS_PER_MILLI: i128 = 1_000_000;
/// Decimal suffixes by exponent / 3, from nano up.
const DECIMAL_SUFFIXES: [&str; 10] = ["n", "u", "m", "", "k", "M", "G", "T", "P", "E"];
/// Binary suffixes by exponent / 10, from 2^0 up.
const BINARY_SUFFIXES: [&str; 7] = ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];

/// An exact amount with the family of suffixes it was written in. Equality, order and hash look at the amount only:
/// `1Ki` equals `1024`. Amounts beyond 1.7·10²⁹ saturate (Kubernetes keeps them; no cluster has them).
#[derive(Clone, Copy, Debug, Default)]
pub struct Quantity {
    nanos: i128,
    format: Format,
}

/// The family of suffixes a quantity is printed in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// `n u m (none) k M G T P E`, powers of 1000.
    #[default]
    DecimalSi,
    /// `Ki Mi Gi Ti Pi Ei`, powers of 1024.
    BinarySi,
    /// `e3`, `E6`, powers of 10.
    DecimalExponent,
}

/// Why a string is not a quantity; the message is Kubernetes' own.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QuantityError {
    /// Digits, point or sign stand where they may not.
    #[error(
        "quantity {0:?} must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
    )]
    Format(String),
    /// What follows the number is no known suffix or exponent.
    #[error("unable to parse the suffix of quantity {0:?}")]
    Suffix(String),
}

impl Quantity {
    /// Nothing.
    pub const ZERO: Self = Self {
        nanos: 0,
        format: Format::DecimalSi,
    };

    /// Parses what Kubernetes parses: `1.5Gi`, `100m`, `1e3`, `+.5k`; more than nine decimal places round away from zero.
    pub fn parse(text: &str) -> Result<Self, QuantityError> {
        let parts = split(text).ok_or_else(|| QuantityError::Format(text.to_owned()))?;
        let unit = unit(parts.suffix).ok_or_else(|| QuantityError::Suffix(text.to_owned()))?;
        let (magnitude, format) = match unit {
            Unit::Power10(exponent, format) => {
                (decimal_nanos(parts.whole, parts.fraction, exponent), format)
            }
            Unit::Power2(bits) => {
                let nanos = binary_nanos(parts.whole, parts.fraction, bits);
                // What is below one unit is shown in decimal suffixes, as Kubernetes does.
                let small = 0 < nanos && nanos < NANOS;
                (
                    nanos,
                    if small {
                        Format::DecimalSi
                    } else {
                        Format::BinarySi
                    },
                )
            }
        };
        let nanos = if parts.negative {
            -magnitude
        } else {
            magnitude
        };
        Ok(Self { nanos, format })
    }

    /// Whole units: `3` CPUs, `8` GPUs.
    pub const fn from_units(units: i64) -> Self {
        Self {
            nanos: units as i128 * NANOS,
            format: Format::DecimalSi,
        }
    }

    /// Thousandths: millicores.
    pub const fn from_milli(milli: i64) -> Self {
        Self {
            nanos: milli as i128 * NANOS_PER_MILLI,
            format: Format::DecimalSi,
        }
    }

    /// Whole units printed in `Ki`, `Mi`, `Gi`…: bytes.
    pub const fn from_bytes(bytes: i64) -> Self {
        Self {
            nanos: bytes as i128 * NANOS,
            format: Format::BinarySi,
        }
    }

    /// Whole units, rounded away from zero; saturates at the limits of `i64`.
    pub fn value(self) -> i64 {
        self.scaled(NANOS)
    }

    /// Thousandths, rounded away from zero; saturates at the limits of `i64`.
    pub fn milli_value(self) -> i64 {
        self.scaled(NANOS_PER_MILLI)
    }

    /// As a floating point number, for shares and prices only.
    pub fn as_f64(self) -> f64 {
        self.nanos as f64 / NANOS as f64
    }

    /// Whether the amount is zero.
    pub const fn is_zero(self) -> bool {
        self.nanos == 0
    }

    /// Whether the amount is below zero.
    pub const fn is_negative(self) -> bool {
        self.nanos < 0
    }

    /// The family of suffixes it prints in.
    pub const fn format(self) -> Format {
        self.format
    }

    /// Sum, in the format of `self` (of `other` where `self` is zero); `None` beyond the representable.
    #[must_use]
    pub fn checked_add(self, other: Self) -> Option<Self> {
        Some(self.with(self.nanos.checked_add(other.nanos)?, other))
    }

    /// Difference, may be negative; `None` beyond the representable.
    #[must_use]
    pub fn checked_sub(self, other: Self) -> Option<Self> {
        Some(self.with(self.nanos.checked_sub(other.nanos)?, other))
    }

    /// Product with a count; `None` beyond the representable.
    #[must_use]
    pub fn checked_mul(self, count: i64) -> Option<Self> {
        Some(self.with(self.nanos.checked_mul(i128::from(count))?, self))
    }

    /// Sum that stops at the limits.
    #[must_use]
    pub fn saturating_add(self, other: Self) -> Self {
        self.with(self.nanos.saturating_add(other.nanos), other)
    }

    /// Difference that stops at the limits (it may be negative).
    #[must_use]
    pub fn saturating_sub(self, other: Self) -> Self {
        self.with(self.nanos.saturating_sub(other.nanos), other)
    }

    /// Product with a count that stops at the limits.
    #[must_use]
    pub fn saturating_mul(self, count: i64) -> Self {
        self.with(self.nanos.saturating_mul(i128::from(count)), self)
    }

    fn with(self, nanos: i128, other: Self) -> Self {
        let format = if self.is_zero() {
            other.format
        } else {
            self.format
        };
        Self { nanos, format }
    }

    fn scaled(self, nanos_per_unit: i128) -> i64 {
        let away = i128::from(self.nanos % nanos_per_unit != 0) * self.nanos.signum();
        let rounded = self.nanos / nanos_per_unit + away;
        i64::try_from(rounded).unwrap_or(if rounded < 0 { i64::MIN } else { i64::MAX })
    }

    /// The amount in whole units where it prints in a binary suffix: at least 1024 of them and no fraction.
    fn binary_units(self) -> Option<i128> {
        let units = self.nanos / NANOS;
        (self.format == Format::BinarySi && self.nanos % NANOS == 0 && units.abs() >= 1024)
            .then_some(units)
    }
}

impl fmt::Display for Quantity {
    /// The canonical form: no fraction, the largest suffix that loses nothing.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_zero() {
            return f.write_str("0");
        }
        if let Some(mut units) = self.binary_units() {
            let mut index = 0;
            while units % 1024 == 0 && index + 1 < BINARY_SUFFIXES.len() {
                units /= 1024;
                index += 1;
            }
            return write!(f, "{units}{}", BINARY_SUFFIXES[index]);
        }
        let (mut digits, mut thousands) = (self.nanos, 0_usize);
        let exponent = self.format == Format::DecimalExponent;
        while digits % 1000 == 0 && (exponent || thousands + 1 < DECIMAL_SUFFIXES.len()) {
            digits /= 1000;
            thousands += 1;
        }
        match (self.format, thousands) {
            (Format::DecimalExponent, 3) => write!(f, "{digits}"),
            (Format::DecimalExponent, _) => {
                let exponent = i32::try_from(thousands).unwrap_or_default() * 3 - 9;
                write!(f, "{digits}e{exponent}")
            }
            _ => write!(f, "{digits}{}", DECIMAL_SUFFIXES[thousands]),
        }
    }
}

impl FromStr for Quantity {
    type Err = QuantityError;

    fn from_str(text: &str) -> Result<Self, QuantityError> {
        Self::parse(text)
    }
}

impl PartialEq for Quantity {
    fn eq(&self, other: &Self) -> bool {
        self.nanos == other.nanos
    }
}

impl Eq for Quantity {}

impl Hash for Quantity {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.nanos.hash(state);
    }
}

impl PartialOrd for Quantity {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Quantity {
    fn cmp(&self, other: &Self) -> Ordering {
        self.nanos.cmp(&other.nanos)
    }
}

impl Serialize for Quantity {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Quantity {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl de::Visitor<'_> for Visitor {
            type Value = Quantity;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a quantity such as 4, \"500m\" or \"32Gi\"")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Quantity, E> {
                Quantity::parse(text.trim()).map_err(E::custom)
            }

            fn visit_i64<E: de::Error>(self, number: i64) -> Result<Quantity, E> {
                Ok(Quantity::from_units(number))
            }

            fn visit_u64<E: de::Error>(self, number: u64) -> Result<Quantity, E> {
                Quantity::parse(&number.to_string()).map_err(E::custom)
            }

            fn visit_f64<E: de::Error>(self, number: f64) -> Result<Quantity, E> {
                Quantity::parse(&number.to_string()).map_err(E::custom)
            }

            fn visit_unit<E: de::Error>(self) -> Result<Quantity, E> {
                Ok(Quantity::ZERO)
            }
        }

        deserializer.deserialize_any(Visitor)
    }
}

impl JsonSchema for Quantity {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Quantity".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "An amount such as 4, 500m or 32Gi.",
            "x-kubernetes-int-or-string": true,
            "pattern": r"^(\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))(([KMGTPE]i)|[numkMGTPE]|([eE](\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))))?$",
        })
    }
}

struct Parts<'a> {
    negative: bool,
    whole: &'a str,
    fraction: &'a str,
    suffix: &'a str,
}

enum Unit {
    Power10(i64, Format),
    Power2(u32),
}

/// Sign, digits, digits after the point and the rest; `None` where characters stand that no quantity has.
fn split(text: &str) -> Option<Parts<'_>> {
    if text.is_empty() {
        return None;
    }
    let negative = text.starts_with('-');
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let (whole, rest) = digits(unsigned);
    let (fraction, suffix) = match rest.strip_prefix('.') {
        Some(rest) => digits(rest),
        None => ("", rest),
    };
    let tail = suffix.trim_start_matches(|c| "eEinumkKMGTP".contains(c));
    let tail = tail.strip_prefix(['+', '-']).unwrap_or(tail);
    tail.chars().all(|c| c.is_ascii_digit()).then_some(Parts {
        negative,
        whole,
        fraction,
        suffix,
    })
}

fn digits(text: &str) -> (&str, &str) {
    let end = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    text.split_at(end)
}

fn unit(suffix: &str) -> Option<Unit> {
    let position = |table: &[&str]| table.iter().position(|known| *known == suffix);
    if let Some(index) = position(&DECIMAL_SUFFIXES) {
        return Some(Unit::Power10(
            i64::try_from(index).ok()? * 3 - 9,
            Format::DecimalSi,
        ));
    }
    if let Some(index) = position(&BINARY_SUFFIXES) {
        return Some(Unit::Power2(u32::try_from(index).ok()? * 10));
    }
    let exponent = suffix.strip_prefix(['e', 'E'])?.parse::<i32>().ok()?;
    Some(Unit::Power10(i64::from(exponent), Format::DecimalExponent))
}

/// `whole.fraction · 10^exponent` in nano-units, rounded up.
fn decimal_nanos(whole: &str, fraction: &str, exponent: i64) -> i128 {
    let digits = format!("{whole}{fraction}");
    let digits = digits.trim_start_matches('0');
    if digits.is_empty() {
        return 0;
    }
    let shift = exponent + 9 - i64::try_from(fraction.len()).unwrap_or(i64::MAX);
    if let Ok(dropped) = usize::try_from(shift.saturating_neg()) {
        let kept = digits.len().saturating_sub(dropped);
        let rounds_up = digits[kept..].bytes().any(|digit| digit != b'0');
        return integer(&digits[..kept]).saturating_add(i128::from(rounds_up));
    }
    let factor = u32::try_from(shift)
        .ok()
        .and_then(|shift| 10_i128.checked_pow(shift));
    integer(digits).saturating_mul(factor.unwrap_or(i128::MAX))
}

/// `whole.fraction · 2^bits` in nano-units, rounded up and capped at 2^63-1 units as Kubernetes does.
fn binary_nanos(whole: &str, fraction: &str, bits: u32) -> i128 {
    let factor = (1_i128 << bits) * NANOS;
    // From the last digit to the first, rounding down and remembering that something was lost.
    let (mut below, mut lost) = (0_i128, false);
    for digit in fraction.bytes().rev() {
        let sum = i128::from(digit - b'0') * factor + below;
        below = sum / 10;
        lost |= sum % 10 != 0;
    }
    integer(whole)
        .saturating_mul(factor)
        .saturating_add(below + i128::from(lost))
        .min(i128::from(i64::MAX) * NANOS)
}

fn integer(digits: &str) -> i128 {
    digits.bytes().fold(0_i128, |sum, digit| {
        sum.saturating_mul(10)
            .saturating_add(i128::from(digit - b'0'))
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn nanos(text: &str) -> i128 {
        Quantity::parse(text).expect(text).nanos
    }

    /// TestQuantityParse of apimachinery: input, mantissa, decimal scale, format.
    #[test]
    fn parses_as_apimachinery() {
        use Format::{BinarySi as Bin, DecimalExponent as Exp, DecimalSi as Dec};
        const KI: i128 = 1024;
        let table: &[(&str, i128, u32, Format)] = &[
            // Mantissa in nano-units: (value, decimal places to add to nano).
            ("0", 0, 0, Dec),
            ("0n", 0, 0, Dec),
            ("0Ki", 0, 0, Bin),
            ("0T", 0, 0, Dec),
            ("1", 1, 9, Dec),
            ("1Ki", KI, 9, Bin),
            ("8Ki", 8 * KI, 9, Bin),
            ("7Mi", 7 * KI.pow(2), 9, Bin),
            ("6Gi", 6 * KI.pow(3), 9, Bin),
            ("5Ti", 5 * KI.pow(4), 9, Bin),
            ("4Pi", 4 * KI.pow(5), 9, Bin),
            ("3Ei", 3 * KI.pow(6), 9, Bin),
            ("100Ti", 100 * KI.pow(4), 9, Bin),
            ("5n", 5, 0, Dec),
            ("4u", 4, 3, Dec),
            ("3m", 3, 6, Dec),
            ("8k", 8, 12, Dec),
            ("50k", 5, 13, Dec),
            ("7M", 7, 15, Dec),
            ("6G", 6, 18, Dec),
            ("5T", 5, 21, Dec),
            ("300T", 3, 23, Dec),
            ("2P", 2, 24, Dec),
            ("1E", 1, 27, Dec),
            ("1E-3", 1, 6, Exp),
            ("1e3", 1, 12, Exp),
            ("1E18", 1, 27, Exp),
            ("1e14", 1, 23, Exp),
            ("100.035k", 100_035, 9, Dec),
            ("0.001", 1, 6, Dec),
            ("0.0005k", 5, 8, Dec),
            ("0.00500", 5, 6, Dec),
            ("0.5e0", 5, 8, Exp),
            ("0.5e-2", 5, 6, Exp),
            ("10.035M", 10_035, 12, Dec),
            ("1.3E+6", 13, 14, Exp),
            ("1.7E18", 17, 26, Exp),
            ("9.01", 901, 7, Dec),
            ("6.987654321G", 6_987_654_321, 9, Dec),
            ("1.01E", 101, 25, Dec),
            // Things that saturate or round.
            ("3.001n", 4, 0, Dec),
            ("1.1E-9", 2, 0, Exp),
            ("0.0000000001", 1, 0, Dec),
            ("0.00000000050", 1, 0, Dec),
            ("0.5e-9", 1, 0, Exp),
            ("0.00000012345", 124, 0, Dec),
            ("9Ei", (1 << 63) - 1, 9, Bin),
            ("9223372036854775807Ki", (1 << 63) - 1, 9, Bin),
            ("12E", 12, 27, Dec),
            // Fractional binary.
            ("100.035Ki", 10_243_584, 7, Bin),
            ("0.5Mi", 524_288, 9, Bin),
            ("0.05Gi", 536_870_912, 8, Bin),
            ("0.025Ti", 274_877_906_944, 8, Bin),
            // Written by trolls.
            ("0.000000000001Ki", 2, 0, Dec),
            (".001", 1, 6, Dec),
            (".0001k", 100, 6, Dec),
            ("1.", 1, 9, Dec),
            ("1.G", 1, 18, Dec),
        ];
        for (text, mantissa, scale, format) in table {
            let expected = mantissa * 10_i128.pow(*scale);
            for (sign, factor) in [("", 1), ("-", -1), ("+", 1)] {
                let text = format!("{sign}{text}");
                let parsed = Quantity::parse(&text).expect(&text);
                assert_eq!(parsed.nanos, factor * expected, "{text}");
                assert_eq!(parsed.format, *format, "{text}");
            }
        }
    }

    #[test]
    fn refuses_what_apimachinery_refuses() {
        for text in [
            "", "1.1.M", "1+1.0M", "0.1mi", "0.1am", "aoeu", ".5i", "1i", "-3.01i", "-3.01e-",
            " 1", "1 ", "1KiB", "1e1.5", "٣", "1Kim", "1ee3", "0x10",
        ] {
            assert!(Quantity::parse(text).is_err(), "{text:?}");
        }
    }

    /// TestQuantityString and TestQuantityParseEmit of apimachinery.
    #[test]
    fn prints_as_apimachinery() {
        for (text, canonical) in [
            ("1024Mi", "1Gi"),
            ("307200Ki", "300Mi"),
            ("6Ki", "6Ki"),
            ("1025024Mi", "1001Gi"),
            ("1024Gi", "1Ti"),
            ("1.5Gi", "1536Mi"),
            ("0.5", "500m"),
            ("1000M", "1G"),
            ("0.001T", "1G"),
            ("1000u", "1m"),
            ("1.08", "1080m"),
            ("1080000000n", "1080m"),
            ("1234567M", "1234567M"),
            ("3000", "3k"),
            ("1025", "1025"),
            ("1024", "1024"),
            (".001e12", "1e9"),
            ("0.001e0", "1e-3"),
            ("1000e-12", "1e-9"),
            ("80e-3", "80e-3"),
            ("300e6", "300e6"),
            ("1e0", "1"),
            ("5e2", "500"),
            ("00", "0"),
            ("0Mi", "0"),
            ("1080u", "1080u"),
            ("1Ki", "1Ki"),
            ("0.5Ki", "512"),
            ("100.035Ki", "102435840m"),
            ("0.000001Ki", "1024u"),
            ("1Mi", "1Mi"),
            ("1048576Ki", "1Gi"),
            (".5", "500m"),
            ("-5Gi", "-5Gi"),
            ("-0.5", "-500m"),
            ("12000E", "12000E"),
            ("1e21", "1e21"),
            ("2048Ei", "9223372036854775807"),
        ] {
            let parsed = Quantity::parse(text).expect(text);
            assert_eq!(parsed.to_string(), canonical, "{text}");
            assert_eq!(nanos(canonical), parsed.nanos, "{text} back");
        }
    }

    #[test]
    fn rounds_away_from_zero() {
        for (text, value, milli) in [
            ("9.01", 10, 9010),
            ("-9.01", -10, -9010),
            ("1n", 1, 1),
            ("-1n", -1, -1),
            ("1500m", 2, 1500),
            ("2", 2, 2000),
            ("1Gi", 1 << 30, 1000 << 30),
            ("1e30", i64::MAX, i64::MAX),
            ("-1e30", i64::MIN, i64::MIN),
        ] {
            let quantity = Quantity::parse(text).expect(text);
            assert_eq!(quantity.value(), value, "{text}");
            assert_eq!(quantity.milli_value(), milli, "{text}");
        }
    }

    #[test]
    fn arithmetic_keeps_the_format() {
        let q = |text: &str| Quantity::parse(text).expect(text);
        assert_eq!(q("1Gi").checked_add(q("512Mi")), Some(q("1536Mi")));
        assert_eq!(q("1Gi").saturating_add(q("1G")).format(), Format::BinarySi);
        assert_eq!(q("0").saturating_add(q("1Gi")).to_string(), "1Gi");
        assert_eq!(q("1").saturating_sub(q("1500m")).to_string(), "-500m");
        assert_eq!(q("250m").saturating_mul(4).to_string(), "1");
        assert_eq!(q("1e38").checked_mul(i64::MAX), None);
        assert!(q("1Ki") == q("1024") && q("1Mi") > q("1M"));
    }

    #[test]
    fn reads_numbers_and_strings() {
        for (json, expected) in [
            ("4", "4"),
            ("\"4\"", "4"),
            ("0.5", "500m"),
            ("-3", "-3"),
            ("1e3", "1k"),
            ("\" 1Gi \"", "1Gi"),
            ("null", "0"),
            ("18446744073709551615", "18446744073709551615"),
        ] {
            let quantity: Quantity = serde_json::from_str(json).expect(json);
            assert_eq!(quantity.to_string(), expected, "{json}");
        }
        assert!(serde_json::from_str::<Quantity>("true").is_err());
        assert!(serde_json::from_str::<Quantity>("\"x\"").is_err());
    }

    /// A structural schema takes no `type` beside int-or-string, and inlining keeps the CRD free of references.
    #[test]
    fn the_schema_is_structural() {
        let schema = schemars::schema_for!(ResourceList).to_value();
        let item = &schema["additionalProperties"];
        assert_eq!(item["x-kubernetes-int-or-string"], true);
        assert_eq!(item.get("type"), None);
        assert_eq!(schema.get("$defs"), None);
    }

    proptest! {
        #[test]
        fn print_then_parse_is_the_same(nanos in any::<i128>(), binary in any::<bool>()) {
            let format = if binary { Format::BinarySi } else { Format::DecimalSi };
            let limit = i128::from(i64::MAX) * NANOS;
            let nanos = if binary { nanos % limit } else { nanos.max(-i128::MAX) };
            let quantity = Quantity { nanos, format };
            prop_assert_eq!(Quantity::parse(&quantity.to_string()), Ok(quantity));
        }

        #[test]
        fn parse_is_monotonic(a in 0_u64.., b in 0_u64.., suffix in "|n|u|m|k|M|G") {
            let parse = |n: u64| Quantity::parse(&format!("{n}{suffix}")).expect("digits");
            prop_assert_eq!(parse(a).cmp(&parse(b)), a.cmp(&b));
        }

        #[test]
        fn anything_parses_or_is_refused(text in "[-+0-9.eEinumkKMGTP]{0,40}") {
            if let Ok(quantity) = Quantity::parse(&text) {
                prop_assert_eq!(Quantity::parse(&quantity.to_string()), Ok(quantity));
            }
        }

        #[test]
        fn add_then_sub_is_the_same(a in any::<i64>(), b in any::<i64>()) {
            let (a, b) = (Quantity::from_milli(a), Quantity::from_bytes(b));
            prop_assert_eq!(a.saturating_add(b).saturating_sub(b), a);
        }
    }
}
