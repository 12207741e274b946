//! The engine's own stack, uncut, as the record.

use wasmscope::{Explainer, Extent, Failure, FrameKind, Guest};
use wasmtime::{Config, Engine, Module, WasmBacktrace};

/// More than any stack here has.
const ALL: usize = 1 << 20;

/// A failure that was compared with the engine's account.
#[derive(Debug)]
pub(crate) struct Checked {
    pub(crate) failure: Failure,
}

/// Explains an error of one guest.
pub(crate) fn kept(guest: Guest, error: &wasmtime::Error) -> Failure {
    let explainer = Explainer::new();
    let _guest = explainer.register(guest).unwrap();
    explainer.explain(error)
}

impl Checked {
    /// Compares with the frames that an error hands out, of which there may be no more.
    pub(crate) fn beside(failure: Failure, error: &wasmtime::Error) -> Self {
        let engine = error.downcast_ref::<WasmBacktrace>().unwrap().frames();
        let engine: Vec<_> = engine
            .iter()
            .map(|frame| (frame.func_index(), frame.module_offset()))
            .collect();
        assert_eq!(functions(&failure), engine);
        assert_eq!(failure.extent(), Extent::Whole);
        Self { failure }
    }

    pub(crate) fn names(&self) -> Vec<&str> {
        let frames = self.failure.frames().iter();
        frames.map(|frame| &*frame.name).collect()
    }
}

/// Returns the index and offset of each frame of a guest.
fn functions(failure: &Failure) -> Vec<(u32, Option<usize>)> {
    let frames = failure.frames().iter();
    let frames = frames.filter(|frame| frame.kind == FrameKind::Guest);
    frames
        .map(|frame| {
            let offset = frame.offset.map(|offset| offset.0 as usize);
            (frame.function.unwrap().0, offset)
        })
        .collect()
}

/// Fails on an engine that hands out all frames and on one that hands out 20, and compares.
pub(crate) fn check(
    bytes: &[u8],
    config: impl Fn() -> Config,
    fail: impl Fn(&Engine, &Module) -> wasmtime::Error,
) -> Checked {
    let [all, usual] = [Some(ALL), None].map(|frames| {
        let mut config = config();
        if let Some(frames) = frames {
            config.wasm_backtrace_max_frames(frames.try_into().ok());
        }
        let engine = Engine::new(&config).unwrap();
        let module = Module::new(&engine, bytes).unwrap();
        let error = fail(&engine, &module);
        let failure = kept(
            Guest::module("guest", &module).bytes(bytes.to_vec()),
            &error,
        );
        (failure, error)
    });
    let handed_out = usual.1.downcast_ref::<WasmBacktrace>().unwrap().frames();
    assert!(handed_out.len() <= 20);
    let checked = Checked::beside(all.0, &all.1);
    assert_eq!(functions(&usual.0), functions(&checked.failure));
    assert_eq!(usual.0.extent(), Extent::Whole);
    assert_eq!(usual.0.messages(), checked.failure.messages());
    checked
}
