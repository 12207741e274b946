//! The body of the fuzz target: every question about arbitrary bytes.
//!
//! Run by a fuzzer, and by a bounded test over damaged real files.

use wasmscope_address::{FuncIndex, ModuleIndex, WasmOffset};

use crate::Symbols;

/// Offsets asked about in each file.
const OFFSETS: usize = 64;

/// Asks every question about `data`, as a file and as its own external debug
/// information.
///
/// # Panics
///
/// When an answer is not one that is promised, such as no frame at all.
pub fn fuzz_symbols(data: &[u8]) {
    let symbols = Symbols::new(data.to_vec());
    ask(&symbols, data.len());
    let loader = Box::new(|url: &str| Some(url.as_bytes().to_vec()));
    let symbols = Symbols::new(data.to_vec()).with_debug_loader(loader);
    assert_eq!(symbols.problem(), None, "nothing was asked yet");
    ask(&symbols, 2);
    let _ = symbols.problem().map(|problem| problem.to_string());
}

fn ask(symbols: &Symbols, len: usize) {
    for module in (0..4).map(ModuleIndex) {
        let _ = symbols.module_name(module);
        for func in [0, 1, 2, 7, 50, u32::MAX].map(FuncIndex) {
            let name = symbols.function_name(module, func);
            assert!(name.raw.is_some() || name.display.starts_with("<wasm function "));
            let _ = symbols.imported_function(module, func);
        }
        let step = (len / OFFSETS).max(1);
        for offset in (0..len).step_by(step).chain([u32::MAX as usize]) {
            let offset = WasmOffset(u32::try_from(offset).unwrap_or(u32::MAX));
            let frames = symbols.frames(module, FuncIndex(3), offset);
            assert!(frames.last().is_some_and(|last| !last.inlined));
            let _ = symbols.called_import(module, offset);
            let _ = symbols.operator(module, offset);
        }
    }
}
