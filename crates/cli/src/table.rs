//! The table of the hottest functions, and the lines under it.

use crate::{duration, terminal};
use std::fmt::Write as _;
use std::time::Duration;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};
use wasmscope::Profile;
use wasmscope::profile::{Category, Function};

/// Makes the table of the `rows` hottest functions for a terminal of this width.
pub(crate) fn hottest(profile: &Profile, rows: usize, width: Option<usize>) -> String {
    let whole = profile.total().weight;
    let mut text = String::new();
    let head = format!("{:>6}  {:>8}  {:>6}  ", "self", "time", "total");
    let _ = writeln!(text, "{}", terminal::paint(&format!("{head}function"), "1"));
    // Functions without time of their own are not hot, whatever they call.
    let hot = profile
        .hottest(rows)
        .into_iter()
        .filter(|totals| totals.own.count > 0);
    for totals in hot {
        let function = profile.function(totals.function);
        let left = format!(
            "{:>6}  {:>8}  {:>6}  ",
            percent(totals.own.weight, whole),
            duration::show(totals.own.weight),
            percent(totals.total.weight, whole),
        );
        let room = width.map(|width| width.saturating_sub(left.width() + 1));
        let _ = writeln!(text, "{left}{}", describe(function, room));
    }
    text
}

/// Writes a function's name and place in so many columns.
fn describe(function: &Function, room: Option<usize>) -> String {
    let name = &function.name;
    let place = match (&function.file, function.start_line, function.category) {
        (Some(file), Some(line), _) => format!("{}:{line}", short(file)),
        (Some(file), None, _) => short(file).to_owned(),
        (None, _, Category::Guest) => String::new(),
        (None, _, category) => format!("[{}]", category.name()),
    };
    let Some(room) = room else {
        return [name.as_str(), &place].join("  ").trim_end().to_owned();
    };
    let gap = if place.is_empty() { 0 } else { 2 };
    if name.width() + gap + place.width() <= room {
        let line = format!("{name}{:gap$}{}", "", terminal::paint(&place, "2"));
        return if place.is_empty() { name.clone() } else { line };
    }
    // The name matters more than the place.
    let for_place = room.saturating_sub(name.width() + gap);
    if place.width() > 0 && for_place >= 12 {
        let place = shorten_left(&place, for_place);
        return format!("{name}  {}", terminal::paint(&place, "2"));
    }
    shorten_right(name, room)
}

/// Returns the last three parts of a path: what people look for.
fn short(file: &str) -> &str {
    match file.rmatch_indices('/').nth(2) {
        Some((at, _)) => &file[at + 1..],
        None => file,
    }
}

fn shorten_right(text: &str, room: usize) -> String {
    shorten(text.chars(), room)
        .into_iter()
        .chain(['…'])
        .collect()
}

fn shorten_left(text: &str, room: usize) -> String {
    let mut kept = shorten(text.chars().rev(), room);
    kept.push('…');
    kept.into_iter().rev().collect()
}

/// Takes characters while they and an ellipsis fit.
fn shorten(chars: impl Iterator<Item = char>, room: usize) -> Vec<char> {
    let mut used = 1;
    chars
        .take_while(|c| {
            used += c.width().unwrap_or(0);
            used <= room
        })
        .collect()
}

fn percent(part: Duration, whole: Duration) -> String {
    if whole.is_zero() {
        return "0.0%".to_owned();
    }
    format!("{:.1}%", 100.0 * part.as_secs_f64() / whole.as_secs_f64())
}

/// Says how the samples were taken and what became of them.
pub(crate) fn accounting(profile: &Profile) -> String {
    let meta = profile.meta();
    let hertz = match meta.interval.as_secs_f64() {
        0.0 => 0.0,
        interval => (1.0 / interval).round(),
    };
    let counts = profile.accounting().unwrap_or_default();
    format!(
        "{} of {} time, sampled {hertz} times a second by {}: {} samples due, {} kept, {} lost",
        duration::show(counts.sampled),
        meta.clock.name(),
        meta.mechanism,
        counts.due,
        counts.kept,
        counts.lost,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_narrow_terminal_keeps_the_name() {
        let function = Function {
            name: "core::str::from_utf8".to_owned(),
            file: Some("/rustc/0123/library/core/src/str/converts.rs".to_owned()),
            start_line: Some(87),
            ..Function::default()
        };
        assert_eq!(
            describe(&function, None),
            "core::str::from_utf8  src/str/converts.rs:87"
        );
        assert_eq!(describe(&function, Some(44)), describe(&function, None));
        assert_eq!(
            describe(&function, Some(40)),
            "core::str::from_utf8  …tr/converts.rs:87"
        );
        assert_eq!(describe(&function, Some(30)), "core::str::from_utf8…");
        assert_eq!(describe(&function, Some(10)), "core::str…");
        assert_eq!(describe(&function, Some(0)), "…");
    }

    #[test]
    fn wide_characters_take_two_columns() {
        let function = Function {
            name: "関数の名前".to_owned(),
            ..Function::default()
        };
        assert_eq!(describe(&function, Some(10)), "関数の名前");
        assert_eq!(describe(&function, Some(9)), "関数の名…");
        assert_eq!(describe(&function, Some(8)), "関数の…");
    }
}
