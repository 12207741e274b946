//! Durations as people write them: `10s`, `500ms`, `1.5m`.

use std::time::Duration;

const UNITS: [(&str, f64); 6] = [
    ("ns", 1e-9),
    ("us", 1e-6),
    ("ms", 1e-3),
    ("s", 1.0),
    ("m", 60.0),
    ("h", 3600.0),
];

/// Reads a duration: a number and a unit, `s` when there is none.
pub(crate) fn parse(text: &str) -> Result<Duration, String> {
    let digits = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let unit = if unit.is_empty() { "s" } else { unit };
    let scale = UNITS.iter().find(|(name, _)| *name == unit);
    match (number.parse::<f64>(), scale) {
        (Ok(number), Some((_, scale))) => Duration::try_from_secs_f64(number * scale)
            .map_err(|error| format!("{text:?} is not a duration: {error}")),
        _ => Err(format!(
            "{text:?} is not a duration; write a number and one of ns, us, ms, s, m, h, as in 500ms"
        )),
    }
}

/// Writes a duration with the three digits that matter: `1.25 s`, `13.0 ms`.
pub(crate) fn show(duration: Duration) -> String {
    let seconds = duration.as_secs_f64();
    let (value, unit) = match seconds {
        s if s >= 0.9995 => (s, "s"),
        s if s >= 0.000_999_5 => (s * 1e3, "ms"),
        s if s > 0.0 => (s * 1e6, "us"),
        _ => return "0 s".to_owned(),
    };
    let decimals = match value {
        v if v >= 99.95 => 0,
        v if v >= 9.995 => 1,
        _ => 2,
    };
    format!("{value:.decimals$} {unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_with_a_unit_is_a_duration() {
        for (text, expected) in [
            ("10s", Duration::from_secs(10)),
            ("10", Duration::from_secs(10)),
            ("500ms", Duration::from_millis(500)),
            ("1.5m", Duration::from_secs(90)),
            ("100us", Duration::from_micros(100)),
        ] {
            assert_eq!(parse(text), Ok(expected), "{text}");
        }
        for text in [
            "",
            "s",
            "1.2.3s",
            "5 parsecs",
            "-1s",
            "99999999999999999999h",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn three_digits_are_shown() {
        for (nanos, expected) in [
            (0, "0 s"),
            (1_234, "1.23 us"),
            (13_000_000, "13.0 ms"),
            (999_900_000, "1.00 s"),
            (123_400_000_000, "123 s"),
        ] {
            assert_eq!(show(Duration::from_nanos(nanos)), expected);
        }
    }
}
