//! Times and resources as scenario files write them.

use std::fmt::Write as _;

use super::read::GPU;

/// `gpu` for `nvidia.com/gpu`.
pub(super) fn short(resource: &str) -> &str {
    if resource == GPU { "gpu" } else { resource }
}

/// A time from the start of the file: `10m`, `-90s`, `1h30m`.
pub(super) fn time(ms: i64) -> String {
    let sign = if ms < 0 { "-" } else { "" };
    let ms = ms.unsigned_abs();
    if ms == 0 {
        return "0s".to_owned();
    }
    let mut text = sign.to_owned();
    for (unit, size) in [("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)] {
        let rest = match unit {
            "h" => ms,
            "m" => ms % 3_600_000,
            "s" => ms % 60_000,
            _ => ms % 1000,
        };
        if rest / size > 0 {
            let _infallible = write!(text, "{}{unit}", rest / size);
        }
    }
    text
}

/// The planner's sentence with its dates as times from the start of the file, which is 1970.
pub(super) fn relative(message: &str) -> String {
    let mut text = String::with_capacity(message.len());
    let mut rest = message;
    while let Some(position) = rest.find(|c: char| c.is_ascii_digit()) {
        let (before, from) = rest.split_at(position);
        text.push_str(before);
        let end = from
            .find(|c: char| !(c.is_ascii_digit() || "-:TZ.".contains(c)))
            .unwrap_or(from.len());
        let (word, after) = from.split_at(end);
        let is_date = word.len() >= 20 && word.ends_with('Z') && word.contains('T');
        match word.parse::<jiff::Timestamp>() {
            Ok(date) if is_date => text.push_str(&time(date.as_millisecond())),
            _ => text.push_str(word),
        }
        rest = after;
    }
    text.push_str(rest);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_files_write_them() {
        for (ms, text) in [
            (0, "0s"),
            (600_000, "10m"),
            (-90_000, "-1m30s"),
            (5_400_000, "1h30m"),
            (1500, "1s500ms"),
        ] {
            assert_eq!(time(ms), text);
        }
    }

    #[test]
    fn dates_become_times() {
        assert_eq!(
            relative("lost: last contact 1970-01-01T00:15:00Z, 4 of 12 pods"),
            "lost: last contact 15m, 4 of 12 pods"
        );
        assert_eq!(relative("1969-12-31T23:55:00Z"), "-5m");
        assert_eq!(relative("2.10 per hour, rack r1"), "2.10 per hour, rack r1");
    }
}
