//! The guest that plays along: what it does next is its host's to say, and so its host knows
//! each frame, and the instruction that the frame is at.

use std::fmt::Write;
use wasmscope_address::{FuncIndex, WasmOffset};

/// What a guest function does when its host is asked.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[repr(u32)]
pub(crate) enum Step {
    Return,
    /// Calls `a`.
    Call,
    /// Calls `b` through a table.
    CallIndirect,
    /// Calls the host, which enters the same store again.
    Enter,
    /// Calls the host, which enters another store.
    Other,
    /// Calls the host, which enters a store on a fiber.
    Fiber,
    /// Runs `c` on a continuation.
    Resume,
    /// Lets the host look.
    Capture,
}

impl Step {
    const ALL: [Self; 8] = [
        Self::Return,
        Self::Call,
        Self::CallIndirect,
        Self::Enter,
        Self::Other,
        Self::Fiber,
        Self::Resume,
        Self::Capture,
    ];
}

/// A function of the guest. They differ in how large their frames are and how they are reached.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
pub(crate) enum Function {
    A,
    B,
    C,
}

impl Function {
    const ALL: [Self; 3] = [Self::A, Self::B, Self::C];

    pub(crate) fn name(self) -> &'static str {
        ["a", "b", "c"][self as usize]
    }

    /// The first functions are the imported ones.
    pub(crate) fn index(self) -> FuncIndex {
        FuncIndex(IMPORTS.len() as u32 + self as u32)
    }
}

const IMPORTS: [&str; 5] = ["next", "enter", "other", "fiber", "capture"];

/// A guest's bytes, and where its calls are.
pub(crate) struct Guest {
    pub(crate) bytes: Vec<u8>,
    sites: Vec<(Function, Step, WasmOffset)>,
}

impl Guest {
    /// Makes it, with continuations or without.
    pub(crate) fn new(name: &str, continuations: bool) -> Self {
        let bytes = wat::parse_str(text(name, continuations)).expect("it is well-formed");
        let mut sites = Vec::new();
        for function in Function::ALL {
            for step in Step::ALL {
                let mark = mark_bytes(function, step);
                let mut places = bytes.windows(mark.len()).enumerate();
                let found = places.find(|(_, window)| *window == mark);
                let Some((at, _)) = found else {
                    assert!(step == Step::Return || step == Step::Resume && !continuations);
                    continue;
                };
                let at = u32::try_from(at + mark.len()).expect("it is small");
                sites.push((function, step, WasmOffset(at)));
            }
        }
        Self { bytes, sites }
    }

    /// Returns where a function is that does `step`.
    pub(crate) fn site(&self, function: Function, step: Step) -> WasmOffset {
        let mut sites = self.sites.iter();
        let found = sites.find(|site| (site.0, site.1) == (function, step));
        found.expect("only what it can do").2
    }
}

/// A number that is nowhere else in the module.
fn mark(function: Function, step: Step) -> i32 {
    0x0765_4000 + 64 * function as i32 + step as i32
}

/// `i32.const mark; drop`: the call follows.
fn mark_bytes(function: Function, step: Step) -> Vec<u8> {
    let mut bytes = vec![0x41];
    let mut rest = mark(function, step);
    loop {
        let low = u8::try_from(rest & 0x7f).expect("seven bits");
        rest >>= 7;
        if rest == 0 && low & 0x40 == 0 {
            bytes.push(low);
            break;
        }
        bytes.push(low | 0x80);
    }
    bytes.push(0x1a);
    bytes
}

fn text(name: &str, continuations: bool) -> String {
    let mut text = format!(
        "(module ${name}
           (type $ta (func (param i32) (result i32)))
           (type $tb (func (param i64 f64 i32) (result f64)))
           (type $tc (func))\n"
    );
    if continuations {
        text += "(type $cont (cont $tc))\n";
    }
    for import in IMPORTS {
        let result = if import == "next" { "(result i32)" } else { "" };
        writeln!(
            text,
            "(import \"host\" {import:?} (func ${import} {result}))"
        )
        .expect("to memory");
    }
    text += "(table funcref (elem $b)) (elem declare func $c)\n";
    for function in Function::ALL {
        writeln!(text, "{}", body(function, continuations)).expect("to memory");
    }
    text += ")";
    text
}

fn body(function: Function, continuations: bool) -> String {
    let name = function.name();
    // `b` keeps values over its calls, so that its frame is large.
    let (locals, keep, result) = match function {
        Function::A => ("", "", "local.get 0"),
        Function::B => (
            "(local i64 i64 f64 f64)",
            "(local.set 3 (i64.add (local.get 0) (local.get 4)))
             (local.set 4 (i64.mul (local.get 3) (i64.const 31)))
             (local.set 5 (f64.add (local.get 1) (local.get 6)))
             (local.set 6 (f64.convert_i64_s (local.get 4)))",
            "(f64.add (local.get 5) (f64.add (local.get 6) (f64.convert_i64_s (local.get 3))))",
        ),
        Function::C => ("", "", ""),
    };
    let mut text = format!(
        "(func ${name} (export \"{name}\") (type $t{name}) {locals}
           (loop $again {keep}"
    );
    for step in Step::ALL.iter().rev() {
        write!(text, "(block ${step:?} ").expect("to memory");
    }
    text += "(br_table";
    for step in Step::ALL {
        write!(text, " ${step:?}").expect("to memory");
    }
    text += " (call $next))";
    for step in Step::ALL {
        let mark = format!("i32.const {} drop", mark(function, step));
        let done = match step {
            Step::Return => format!("{result} return"),
            Step::Call => format!("i32.const 7 {mark} call $a drop"),
            Step::CallIndirect => format!(
                "i64.const 3 f64.const 0.5 i32.const 9 i32.const 0 {mark}
                 call_indirect (type $tb) drop"
            ),
            Step::Enter => format!("{mark} call $enter"),
            Step::Other => format!("{mark} call $other"),
            Step::Fiber => format!("{mark} call $fiber"),
            Step::Resume if continuations => {
                format!("ref.func $c cont.new $cont {mark} resume $cont")
            }
            Step::Resume => "unreachable".to_owned(),
            Step::Capture => format!("{mark} call $capture"),
        };
        writeln!(text, ") {done} br $again").expect("to memory");
    }
    text += ") unreachable)";
    text
}
