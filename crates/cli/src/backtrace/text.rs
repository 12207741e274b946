//! A stack for people: each frame with its lines of source.

use super::excerpt::{self, harmless};
use super::folds::{Part, fold};
use super::sources::Sources;
use super::{Account, Held, Stack};
use crate::duration;
use crate::plan::ShowPlan;
use anstyle::{AnsiColor, Style};
use std::collections::HashSet;
use std::io::{self, Write};
use std::sync::Arc;
use wasmscope::{Extent, Frame, FrameKind};
use wasmscope_address::{FuncIndex, WasmOffset};
use wasmscope_symbolize::SourceFrame;

const ERROR: Style = AnsiColor::Red.on_default().bold();
const NOTE: Style = AnsiColor::Cyan.on_default().bold();
const NAME: Style = Style::new().bold();
const HOST: Style = AnsiColor::Yellow.on_default();
const DIM: Style = Style::new().dimmed();

/// Writes what is shown.
pub(super) fn write(
    account: &Account,
    plan: &ShowPlan,
    sources: Sources<'_>,
    to: &mut impl Write,
) -> io::Result<()> {
    let mut page = Page {
        context: plan.context,
        full: plan.full,
        hints: plan.hints,
        sources,
        seen: HashSet::new(),
        to,
    };
    match account {
        Account::Failure { guest, failure, .. } => {
            let messages = failure.messages().join(": ");
            let (guest, messages) = (harmless(guest), multiline(&messages));
            writeln!(page.to, "{ERROR}error:{ERROR:#} {guest} failed: {messages}")?;
            page.stack(&Stack {
                frames: failure.frames(),
                held: &[],
                extent: Some(failure.extent()),
            })?;
        }
        Account::Stuck {
            guest,
            after,
            frames,
            extent,
            ..
        } => {
            let (guest, after) = (harmless(guest), duration::show(*after));
            writeln!(
                page.to,
                "{ERROR}error:{ERROR:#} {guest} does not end after {after}; it is here:"
            )?;
            page.stack(&Stack {
                frames,
                held: &[],
                extent: Some(*extent),
            })?;
        }
        Account::Dump { guest, threads } => {
            writeln!(page.to, "{NOTE}core dump{NOTE:#} of {}", harmless(guest))?;
            if threads.is_empty() {
                page.note("there is no stack in it")?;
            }
            for thread in threads {
                // There is mostly one, which need not be told apart.
                if threads.len() > 1 {
                    let name = harmless(&thread.name);
                    writeln!(page.to, "{NOTE}thread{NOTE:#} {name}")?;
                }
                page.stack(&Stack {
                    frames: &thread.frames,
                    held: &thread.held,
                    extent: thread.cut.then_some(Extent::Newest),
                })?;
            }
        }
    }
    page.notes()
}

/// Writes out what would steer a terminal, but for the ends of lines.
fn multiline(text: &str) -> String {
    let lines: Vec<_> = text.lines().map(harmless).collect();
    lines.join("\n")
}

/// A place in a binary.
type Spot = (Option<Arc<str>>, Option<FuncIndex>, Option<WasmOffset>);

struct Page<'a, W> {
    context: Option<u32>,
    full: bool,
    hints: bool,
    sources: Sources<'a>,
    /// Places whose source was shown.
    seen: HashSet<Spot>,
    to: &'a mut W,
}

impl<W: Write> Page<'_, W> {
    fn stack(&mut self, stack: &Stack<'_>) -> io::Result<()> {
        let frames = stack.frames;
        let parts = match self.full {
            true => (0..frames.len()).map(Part::Frame).collect(),
            false => {
                let functions = frames.iter().map(|it| (&it.module, it.function, &it.name));
                fold(&functions.collect::<Vec<_>>())
            }
        };
        let digits = frames.len().saturating_sub(1).to_string().len();
        for part in parts {
            match part {
                Part::Frame(at) => match frames.get(at) {
                    Some(frame) => {
                        self.frame(at, digits, frame)?;
                        self.held(stack.held.get(at))?;
                    }
                    None => continue,
                },
                Part::Folded { frames, functions } => {
                    let frames = thousands(frames);
                    let functions = match functions {
                        1 => "function".to_owned(),
                        many => format!("{many} functions"),
                    };
                    let hint = match self.hints {
                        true => "; --full shows them",
                        false => "",
                    };
                    writeln!(
                        self.to,
                        "   {DIM}... {frames} more frames of the same {functions}{hint} ...{DIM:#}"
                    )?;
                }
            }
        }
        match stack.extent {
            Some(Extent::Newest) => {
                self.note("there may be older frames: what recorded the stack kept these")
            }
            Some(Extent::Rethrown) => self.note(
                "the exception was caught there and thrown on: where it was thrown first is not known",
            ),
            Some(Extent::Nothing) => self.note("no stack is known: no guest ran when this failed"),
            _ => Ok(()),
        }
    }

    /// Writes what a frame held, if anything is known of it.
    fn held(&mut self, held: Option<&Held>) -> io::Result<()> {
        let Some(held) = held else { return Ok(()) };
        for (what, values) in [("locals", &held.locals), ("operands", &held.operands)] {
            if values.iter().any(Option::is_some) {
                let values = values.iter().map(|it| it.as_deref().unwrap_or("?"));
                let values: Vec<_> = values.collect();
                writeln!(self.to, "       {DIM}{what}:{DIM:#} {}", values.join(", "))?;
            }
        }
        Ok(())
    }

    fn frame(&mut self, number: usize, digits: usize, frame: &Arc<Frame>) -> io::Result<()> {
        write!(self.to, " {DIM}{number:>digits$}:{DIM:#} ")?;
        if frame.kind == FrameKind::Host {
            let name = harmless(&frame.name);
            return writeln!(self.to, "{HOST}{name}{HOST:#}{DIM}  (host){DIM:#}");
        }
        let spot = (frame.module.clone(), frame.function, frame.offset);
        let is_new = self.seen.insert(spot);
        if frame.source.is_empty() {
            let name = harmless(&frame.name);
            writeln!(self.to, "{NAME}{name}{NAME:#}{}", place(frame))?;
        }
        for (depth, call) in frame.source.iter().enumerate() {
            let name = harmless(&call.function);
            let end = match call.inlined {
                true => format!("{DIM}  (inlined){DIM:#}"),
                false => place(frame),
            };
            let indent = if depth == 0 { 0 } else { digits + 3 };
            writeln!(self.to, "{:indent$}{NAME}{name}{NAME:#}{end}", "")?;
            self.source(call, is_new)?;
        }
        Ok(())
    }

    fn source(&mut self, call: &SourceFrame, is_new: bool) -> io::Result<()> {
        let Some(file) = &call.file else {
            return Ok(());
        };
        write!(self.to, "       {DIM}at{DIM:#} {}", harmless(file))?;
        let Some(line) = call.line else {
            return writeln!(self.to);
        };
        write!(self.to, ":{line}")?;
        if let Some(column) = call.column {
            write!(self.to, ":{column}")?;
        }
        writeln!(self.to)?;
        if let Some(context) = self.context.filter(|_| is_new)
            && let Some(lines) = self.sources.lines(file, line)
        {
            excerpt::write(&lines, line, call.column, context, self.to)?;
        }
        Ok(())
    }

    fn notes(&mut self) -> io::Result<()> {
        if let Some((first, others)) = self.sources.missing().split_first() {
            let others = match others.len() {
                0 => String::new(),
                1 => " and 1 other file".to_owned(),
                many => format!(" and {many} other files"),
            };
            let text = format!(
                "the source of {}{others} is not here; --source-dir [FROM=]DIR says where it is",
                harmless(first)
            );
            self.note(&text)?;
        }
        for file in self.sources.short().to_vec() {
            let text = format!(
                "{} has fewer lines than when it was compiled: it is another version",
                harmless(&file)
            );
            self.note(&text)?;
        }
        Ok(())
    }

    fn note(&mut self, text: &str) -> io::Result<()> {
        writeln!(self.to, "{NOTE}note:{NOTE:#} {text}")
    }
}

/// Says where in the binary a frame is.
fn place(frame: &Frame) -> String {
    let module = harmless(frame.module.as_deref().unwrap_or_default());
    match frame.offset {
        Some(offset) => format!("{DIM}  {module}+{:#x}{DIM:#}", offset.0),
        None if module.is_empty() => String::new(),
        None => format!("{DIM}  {module}{DIM:#}"),
    }
}

/// Writes a number as people read it.
fn thousands(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_numbers_are_grouped() {
        let written = [0, 999, 1000, 99_996, 1_234_567].map(thousands);
        assert_eq!(written, ["0", "999", "1,000", "99,996", "1,234,567"]);
    }
}
