//! The code of a probe: what is inserted around a body.
//!
//! ```text
//!    without exceptions                     with them
//!
//!    before                                 before
//!    block (results)                        block (result exnref)
//!      the body                               try_table (results) (catch_all_ref 0)
//!    end                                        the body
//!    save the results                         end
//!    after; push them again                   save the results
//!                                             after; push them again
//!                                             return
//!                                           end
//!                                           unwind
//!                                           throw_ref
//!    end                                    end
//! ```
//!
//! The innermost block stands for the function's own label, so the depths of branches
//! in the body stay what they were; a `return` in it becomes a branch to that label.
//!
//! Where [`events`] are kept, `before`, `after` and `unwind` stand for the code that keeps
//! one, which leaves the results where they are.

use wasmparser::ValType;

use crate::control;
use crate::encoding::{BlockType, Code};
use crate::events::{self, Event, EventKind, Events};
use crate::function::Signature;
use crate::hooks::{self, Hook};
use crate::plan::Plan;

/// The probe of one function.
#[derive(Debug)]
pub(crate) struct Probe<'p, 'm, 'a> {
    plan: &'p Plan<'m, 'a>,
    number: u32,
    signature: &'p Signature,
    block: BlockType,
    /// The first of the locals that are appended: with switches whether `before` was
    /// called, then the results, or where events are kept the one that this takes.
    first: u32,
}

impl<'p, 'm, 'a> Probe<'p, 'm, 'a> {
    /// Makes the probe with this number for a function that had `locals` locals, its
    /// parameters included.
    pub(crate) fn new(
        plan: &'p Plan<'m, 'a>,
        number: u32,
        signature: &'p Signature,
        locals: u32,
    ) -> Self {
        Self {
            plan,
            number,
            signature,
            block: plan.block_type(signature),
            first: locals,
        }
    }

    /// Returns the locals that are appended, as runs of one type.
    pub(crate) fn locals(&self) -> Vec<(u32, ValType)> {
        let mut runs: Vec<(u32, ValType)> = Vec::new();
        if self.plan.options.switches {
            runs.push((1, ValType::I32));
        }
        if self.plan.events().is_some() {
            runs.push((1, ValType::I32));
        }
        for ty in self.saved() {
            match runs.last_mut() {
                Some((count, last)) if last == ty => *count += 1,
                _ => runs.push((1, *ty)),
            }
        }
        runs
    }

    /// Returns the results that are saved in locals, to pass them to `after`.
    fn saved(&self) -> &'p [ValType] {
        if self.plan.events().is_some() {
            &[]
        } else {
            &self.signature.results
        }
    }

    /// Returns how many labels are opened ahead of the body.
    pub(crate) fn labels(plan: &Plan<'_, '_>) -> u32 {
        1 + u32::from(plan.exceptions) + Self::event_labels(plan)
    }

    /// Returns how many labels the code of one event opens.
    pub(crate) fn event_labels(plan: &Plan<'_, '_>) -> u32 {
        u32::from(plan.options.switches) + u32::from(plan.events().is_some())
    }

    /// Writes what stands before the body.
    pub(crate) fn enter(&self, code: &mut Code<'_>) {
        let switches = self.plan.options.switches;
        if switches {
            control::is_on(code, self.plan, self.number);
            code.if_empty();
        }
        match self.plan.events() {
            Some(events) => self.keep(code, events, EventKind::Open),
            None => self.event(code, 0, &self.signature.params, Hook::Before),
        }
        if switches {
            code.i32_const(1).local_set(self.first).end();
        }
        if self.plan.exceptions {
            code.block_exnref().try_catch_all_ref(self.block);
        } else {
            code.block(self.block);
        }
    }

    /// Writes what stands after the body and its `end`, the function's own `end`
    /// included.
    pub(crate) fn leave(&self, code: &mut Code<'_>) {
        let results = self.saved();
        let first = self.first + u32::from(self.plan.options.switches);
        for at in (0..results.len() as u32).rev() {
            code.local_set(first + at);
        }
        self.when_open(code, |code| match self.plan.events() {
            Some(events) => self.keep(code, events, EventKind::Return),
            None => self.event(code, first, results, Hook::After),
        });
        for at in 0..results.len() as u32 {
            code.local_get(first + at);
        }
        if self.plan.exceptions {
            code.return_().end();
            self.close(code, Hook::Unwind, EventKind::Unwind);
            code.throw_ref();
        }
        code.end();
    }

    /// Writes what stands before a tail call, whose arguments are on the stack.
    pub(crate) fn tail_call(&self, code: &mut Code<'_>) {
        self.close(code, Hook::Tail, EventKind::Tail);
    }

    fn close(&self, code: &mut Code<'_>, hook: Hook, kind: EventKind) {
        self.when_open(code, |code| match self.plan.events() {
            Some(events) => self.keep(code, events, kind),
            None => {
                code.call(self.plan.hook(hook));
            }
        });
    }

    fn keep(&self, code: &mut Code<'_>, events: Events, kind: EventKind) {
        let probe = self.number;
        let next = self.first + u32::from(self.plan.options.switches);
        events::write(code, self.plan, events, Event { probe, kind }, next);
    }

    /// Writes code that runs only when `before` was called, which without switches it
    /// always is.
    fn when_open(&self, code: &mut Code<'_>, write: impl FnOnce(&mut Code<'_>)) {
        let switches = self.plan.options.switches;
        if switches {
            code.local_get(self.first).if_empty();
        }
        write(code);
        if switches {
            code.end();
        }
    }

    /// Calls `before` or `after` with the values of the locals from `first` on, after
    /// staging those that are too many for one call.
    fn event(&self, code: &mut Code<'_>, first: u32, types: &[ValType], hook: fn(u8) -> Hook) {
        let values: Vec<_> = (first..)
            .zip(types)
            .flat_map(|(local, ty)| {
                let lanes = 0..hooks::flattened_len(*ty) as u8;
                lanes.map(move |lane| (local, *ty, lane))
            })
            .collect();
        let staged = hooks::staged(values.len()) * hooks::GROUP;
        let (groups, rest) = values.split_at(staged);
        for group in groups.chunks(hooks::GROUP) {
            for (local, ty, lane) in group {
                code.flatten(*local, *ty, *lane);
            }
            code.call(self.plan.hook(Hook::Stage));
        }
        let hook = hook(rest.len() as u8);
        if let Hook::Before(_) = hook {
            code.global_get(self.plan.instance())
                .i32_const(self.number.cast_signed())
                .i32_add();
        }
        for (local, ty, lane) in rest {
            code.flatten(*local, *ty, *lane);
        }
        code.call(self.plan.hook(hook));
    }
}
