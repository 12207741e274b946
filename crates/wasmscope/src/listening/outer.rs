//! The guest frames below the host code that entered an activation.
//!
//! A guest may have called the host function that entered this one, in the same store or
//! another. Compiled code does not say so; the host's own unwind tables lead there. It
//! takes microseconds, so it is done once for an activation, and only when asked for.

use super::module::ListenedModule;
use crate::layout::Fp;
use std::cell::RefCell;
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use wasmscope_address::{HostPc, TextRange};
use wasmscope_sample::{CodeMap, FrameKind, StackCapture, find_windows};

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
}

/// All modules with probes in the process, for walks that cross from store to store.
#[derive(Default)]
struct Modules {
    code: Arc<CodeMap>,
    known: Vec<(TextRange, Weak<ListenedModule>)>,
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
        modules.code = Arc::new(code);
    }
    modules.known.push((text, Arc::downgrade(module)));
}

/// Forgets the modules of a text, before the code goes.
pub(super) fn unregister(text: TextRange) {
    let mut modules = MODULES.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(modules) = modules.as_mut() {
        modules.code = Arc::new(modules.code.without(text));
        modules.known.retain(|(known, _)| *known != text);
    }
}

thread_local! {
    static CAPTURE: RefCell<Option<StackCapture>> = const { RefCell::new(None) };
}

impl Outer {
    /// Returns the frame at an address.
    pub(super) fn at(&self, fp: Fp) -> Option<&OuterFrame> {
        // One stack, from the newest frame up.
        let at = self.frames.partition_point(|frame| frame.fp < fp);
        self.frames.get(at).filter(|frame| frame.fp == fp)
    }

    /// Tells whether the host's stack can be walked on this platform.
    pub(super) fn can_be_seen() -> bool {
        CAPTURE.with_borrow_mut(|capture| {
            if capture.is_none() {
                *capture = StackCapture::new();
            }
            capture.is_some()
        })
    }

    /// Returns the guest frames of this thread's stack that are older than the one at
    /// `entry`. None are found where the host's stack cannot be walked.
    pub(super) fn below(entry: Fp) -> Self {
        let modules = MODULES.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(modules) = modules.as_ref() else {
            return Self::default();
        };
        let mut outer = Self::default();
        CAPTURE.with_borrow_mut(|capture| {
            if capture.is_none() {
                *capture = StackCapture::new();
            }
            let Some(capture) = capture else { return };
            let _ = capture.visit(&modules.code, |frame| {
                if frame.kind == FrameKind::Guest
                    && let Some(base) = frame.base
                {
                    // The base is above the frame's pair of words.
                    let fp = Fp(usize::try_from(base).unwrap_or(0).saturating_sub(16));
                    if fp > entry {
                        outer.frames.push(OuterFrame { pc: frame.pc, fp });
                    }
                }
                ControlFlow::Continue(())
            });
        });
        // Entry trampolines lie in the text too, but in no function.
        for (text, module) in &modules.known {
            if outer.frames.iter().any(|frame| text.contains(frame.pc)) {
                outer.modules.extend(module.upgrade());
            }
        }
        let in_function = |frame: &OuterFrame| {
            let mut modules = outer.modules.iter();
            modules.any(|module| module.place(frame.pc).is_some())
        };
        outer.frames = outer.frames.iter().copied().filter(in_function).collect();
        outer
    }
}
