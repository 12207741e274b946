//! A line of source with those around it, and a caret under the place.

use anstyle::{AnsiColor, Style};
use std::fmt::Write as _;
use std::io::{self, Write};
use unicode_width::UnicodeWidthChar;

/// Longer lines are cut around the place that matters.
const MOST_COLUMNS: usize = 160;
/// What a tab is as wide as.
const TAB: &str = "    ";

const DIM: Style = Style::new().dimmed();
const MARK: Style = AnsiColor::Red.on_default().bold();

/// Writes the line numbered `line` and `context` lines around it. Lines and columns count
/// from 1, columns in bytes.
pub(super) fn write(
    lines: &[String],
    line: u32,
    column: Option<u32>,
    context: u32,
    to: &mut impl Write,
) -> io::Result<()> {
    let first = line.saturating_sub(context).max(1);
    let last = line
        .saturating_add(context)
        .min(u32::try_from(lines.len()).unwrap_or(u32::MAX));
    let digits = last.to_string().len();
    for number in first..=last {
        let Some(text) = lines.get(number as usize - 1) else {
            break;
        };
        let is_place = number == line;
        let (text, caret) = window(text, column.filter(|_| is_place));
        let mark = if is_place { ">" } else { " " };
        write!(
            to,
            "       {MARK}{mark}{MARK:#} {DIM}{number:>digits$} |{DIM:#}"
        )?;
        match text.is_empty() {
            true => writeln!(to)?,
            false if is_place => writeln!(to, " {text}")?,
            false => writeln!(to, " {DIM}{text}{DIM:#}")?,
        }
        if let Some(caret) = caret {
            let (number, caret) = (" ".repeat(digits), " ".repeat(caret));
            writeln!(to, "         {DIM}{number} |{DIM:#} {caret}{MARK}^{MARK:#}")?;
        }
    }
    Ok(())
}

/// Returns a line as it is shown, and how far into it the caret stands.
fn window(line: &str, column: Option<u32>) -> (String, Option<usize>) {
    let line = line.trim_end();
    let place = column.map(|column| column.saturating_sub(1) as usize);
    let mut shown: Vec<(String, usize)> = Vec::new();
    let mut caret = None;
    let mut width = 0;
    for (at, letter) in line.char_indices() {
        // A column within a letter, or past the line's end, is not the line's.
        if place == Some(at) {
            caret = Some((shown.len(), width));
        }
        let (text, columns) = printable(letter);
        width += columns;
        shown.push((text, columns));
    }
    if width <= MOST_COLUMNS {
        let text = shown.into_iter().map(|(text, _)| text).collect();
        return (text, caret.map(|(_, column)| column));
    }
    // From some way before the caret on, as much as there is room for.
    let from = caret.map_or(0, |(letter, _)| letter.saturating_sub(MOST_COLUMNS / 2));
    let (mut text, mut column) = (String::new(), 0);
    if from > 0 {
        text.push_str("...");
        column = 3;
    }
    let mut caret_column = None;
    for (position, (letter, columns)) in shown.iter().enumerate().skip(from) {
        if column + columns > MOST_COLUMNS {
            text.push_str("...");
            break;
        }
        if caret.is_some_and(|(at, _)| at == position) {
            caret_column = Some(column);
        }
        text.push_str(letter);
        column += columns;
    }
    (text, caret_column)
}

/// Returns a letter as a terminal may be given it, and how wide it is there.
fn printable(letter: char) -> (String, usize) {
    match letter {
        '\t' => (TAB.to_owned(), TAB.len()),
        _ => match letter.width() {
            Some(width) => (letter.to_string(), width),
            None => {
                let mut text = String::new();
                let _ = write!(text, "{}", letter.escape_default());
                let len = text.len();
                (text, len)
            }
        },
    }
}

/// Returns a name or path of a guest's as a terminal may be given it: what would steer the
/// terminal is written out.
pub(super) fn harmless(text: &str) -> String {
    text.chars().map(|letter| printable(letter).0).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(lines: &[&str], line: u32, column: Option<u32>, context: u32) -> String {
        let lines: Vec<String> = lines.iter().map(ToString::to_string).collect();
        let mut coloured = Vec::new();
        write(&lines, line, column, context, &mut coloured).unwrap();
        let plain = anstream::adapter::strip_bytes(&coloured).into_vec();
        String::from_utf8(plain).unwrap()
    }

    #[test]
    fn a_caret_stands_under_the_place() {
        let lines = ["int f() {", "\treturn g() / h();", "", "}"];
        let expected = "         1 | int f() {\n       \
                        > 2 |     return g() / h();\n           \
                        |                ^\n         3 |\n";
        assert_eq!(shown(&lines, 2, Some(13), 1), expected);
    }

    #[test]
    fn columns_count_bytes_and_carets_what_is_seen() {
        let (text, caret) = window("é漢 x", Some(7));
        assert_eq!((text.as_str(), caret), ("é漢 x", Some(4)));
        // Within a letter, past the end, and none.
        for column in [Some(2), Some(99), None] {
            assert_eq!(window("é漢 x", column).1, None);
        }
    }

    #[test]
    fn the_ends_of_a_file() {
        assert_eq!(shown(&["only"], 1, None, 3), "       > 1 | only\n");
        let lines = ["a", "b"];
        assert_eq!(
            shown(&lines, 2, None, 9),
            "         1 | a\n       > 2 | b\n"
        );
        assert_eq!(shown(&lines, u32::MAX, None, 1), "");
    }

    #[test]
    fn long_lines_are_cut_around_the_place() {
        let line = format!("{}here{}", "x".repeat(10_000), "y".repeat(10_000));
        let (text, caret) = window(&line, Some(10_001));
        assert!(text.len() <= MOST_COLUMNS + 6);
        assert_eq!(&text[caret.unwrap()..][..4], "here");
        let (text, caret) = window(&line, None);
        assert!(text.starts_with("xxx") && text.ends_with("...") && caret.is_none());
    }

    #[test]
    fn nothing_steers_the_terminal() {
        let text = harmless("a\x1b[31m\u{9b}2J\u{7f}\r\nb");
        assert_eq!(text, r"a\u{1b}[31m\u{9b}2J\u{7f}\r\nb");
        assert_eq!(
            shown(&["\x1b]0;x\x07"], 1, None, 0),
            "       > 1 | \\u{1b}]0;x\\u{7}\n"
        );
    }
}
