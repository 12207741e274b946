//! The guest frames below the host code that entered an activation.
//!
//! A guest may have called the host function that entered this one, in the same store or
//! another, and a fiber or a continuation was resumed by another stack. Compiled code does
//! not say so; the host's own unwind tables lead there. Only when asked for, and on a
//! thread's own stack once for an activation: what is below a fiber or a continuation is
//! another stack each time that it is resumed.

use super::module::ListenedModule;
use crate::layout::Fp;
use std::cell::RefCell;
use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use wasmscope_address::{HostPc, TextRange};
use wasmscope_sample::{CodeMap, Frame, FrameKind, HostFrames, OwnCapture, find_windows};

/// One guest frame on this thread's stack.
#[derive(Clone, Copy, Debug)]
pub(super) struct OuterFrame {
    pub(super) pc: HostPc,
    pub(super) fp: Fp,
}

/// The frames of other activations, newest first, with the modules that they run.
#[derive(Debug, Default)]
pub(super) struct Outer {
    pub(super) frames: Vec<OuterFrame>,
    pub(super) modules: Vec<Arc<ListenedModule>>,
    /// The same frames by where they are.
    places: HashMap<Fp, HostPc>,
}

/// All modules with probes in the process, for walks that cross from store to store.
#[derive(Default)]
struct Modules {
    code: Arc<CodeMap>,
    /// How often that was another.
    generation: u64,
    known: Vec<(TextRange, Weak<ListenedModule>)>,
}

impl Modules {
    fn replace(&mut self, code: CodeMap) {
        self.code = Arc::new(code);
        self.generation += 1;
    }
}

static MODULES: Mutex<Option<Modules>> = Mutex::new(None);

/// Makes a module known to walks.
pub(super) fn register(module: &Arc<ListenedModule>) {
    let mut modules = MODULES.lock().unwrap_or_else(PoisonError::into_inner);
    let modules = modules.get_or_insert_default();
    // Only frames at calls are walked, and those have no windows.
    // The modules of one component have one text.
    let text = module.binary.text;
    if let Some(code) = modules.code.with(text, find_windows(&[], [])) {
        modules.replace(code);
    }
    modules.known.push((text, Arc::downgrade(module)));
}

/// Forgets the modules of a text, before the code goes.
pub(super) fn unregister(text: TextRange) {
    let mut modules = MODULES.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(modules) = modules.as_mut() {
        modules.replace(modules.code.without(text));
        modules.known.retain(|(known, _)| *known != text);
    }
}

thread_local! {
    static CAPTURE: RefCell<Option<OwnCapture>> = const { RefCell::new(None) };
}

/// Does something with this thread's means of walking, where there are any.
fn with_capture<R>(f: impl FnOnce(&mut OwnCapture) -> R) -> Option<R> {
    CAPTURE.with_borrow_mut(|capture| {
        if capture.is_none() {
            *capture = OwnCapture::new();
        }
        capture.as_mut().map(f)
    })
}

impl Outer {
    /// Returns where the frame goes on that is at an address.
    pub(super) fn at(&self, fp: Fp) -> Option<HostPc> {
        self.places.get(&fp).copied()
    }

    /// Tells whether the host's stack can be walked on this platform.
    pub(super) fn can_be_seen() -> bool {
        with_capture(|_| ()).is_some()
    }

    /// Returns the guest frames of this thread's stack that are older than the one at
    /// `frame`, which is one of a module with probes. None are found where the host's stack
    /// cannot be walked.
    pub(super) fn below(frame: Fp) -> Self {
        let modules = MODULES.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(modules) = modules.as_ref() else {
            return Self::default();
        };
        let mut frames = Vec::new();
        let mut is_older = false;
        with_capture(|capture| {
            let (code, generation) = (&modules.code, modules.generation);
            let _ = capture.visit(code, generation, HostFrames::Omit, &mut |found: Frame| {
                if found.kind == FrameKind::Guest
                    && let Some(base) = found.base
                {
                    // The base is above the frame's pair of words.
                    let fp = Fp(usize::try_from(base).unwrap_or(0).saturating_sub(16));
                    if is_older {
                        let pc = found.pc;
                        frames.push(OuterFrame { pc, fp });
                    }
                    is_older |= fp == frame;
                }
                ControlFlow::Continue(())
            });
        });
        let mut outer = Self::default();
        for (text, module) in &modules.known {
            if frames.iter().any(|frame| text.contains(frame.pc)) {
                outer.modules.extend(module.upgrade());
            }
        }
        // Entry trampolines lie in the text too, but in no function.
        frames.retain(|frame| {
            let mut modules = outer.modules.iter();
            modules.any(|module| module.place(frame.pc).is_some())
        });
        outer.places = frames.iter().map(|frame| (frame.fp, frame.pc)).collect();
        outer.frames = frames;
        outer
    }
}
