//! Standard error: whether it is a terminal, how wide, in colour or not, and the
//! program's messages on it.

use std::env;
use std::fmt::Display;
use std::io::{self, IsTerminal, Write as _};
use terminal_size::{Width, terminal_size_of};

/// Prints an error.
pub(crate) fn error(error: &anyhow::Error) {
    print(format_args!("{} {error:#}", paint("error:", "1;31")));
}

/// Prints a warning.
pub(crate) fn warning(text: &str) {
    print(format_args!("{} {text}", paint("warning:", "1;33")));
}

/// Prints lines.
pub(crate) fn say(text: &str) {
    print(text);
}

/// A standard error that nobody reads any more, as of `2>&1 | head`, is no reason to
/// fail.
fn print(text: impl Display) {
    let _ = writeln!(io::stderr(), "{text}");
}

/// Colours a text, on a terminal whose user did not say no to colours.
pub(crate) fn paint(text: &str, colour: &str) -> String {
    match is_coloured() {
        true => format!("\x1b[{colour}m{text}\x1b[0m"),
        false => text.to_owned(),
    }
}

/// Tells whether standard error is a terminal.
pub(crate) fn is_terminal() -> bool {
    io::stderr().is_terminal()
}

/// Returns the width of the terminal; none where there is no terminal.
pub(crate) fn width() -> Option<usize> {
    let (Width(columns), _) = terminal_size_of(io::stderr())?;
    Some(usize::from(columns))
}

/// Tells whether standard error has colours.
pub(crate) fn is_coloured() -> bool {
    let is_refused = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
        || env::var_os("TERM").is_some_and(|value| value == "dumb");
    is_terminal() && !is_refused
}
