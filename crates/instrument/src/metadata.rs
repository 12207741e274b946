//! Rewrites `metadata.code.*` sections, such as branch hints: they name functions by
//! index and operators by their offset in a body.

use wasmparser::{BinaryReader, Result};
use wasmscope_address::FuncIndex;

use crate::encoding;
use crate::map::Map;

/// Rewrites the contents of a section. Returns `None` when they cannot be read: such a
/// section says nothing that matters, so the module does without it.
pub(crate) fn rewrite(map: &Map, data: &[u8]) -> Option<Vec<u8>> {
    let mut reader = BinaryReader::new(data, 0);
    let mut out = Vec::with_capacity(data.len());
    rewrite_functions(map, &mut reader, &mut out).ok()?;
    reader.eof().then_some(out)
}

fn rewrite_functions(map: &Map, reader: &mut BinaryReader<'_>, out: &mut Vec<u8>) -> Result<()> {
    let mut kept = 0;
    let mut functions = Vec::new();
    for _ in 0..reader.read_var_u32()? {
        let function = FuncIndex(reader.read_var_u32()?);
        let defined = function.0.checked_sub(map.imported_functions);
        let body = defined.and_then(|defined| map.bodies.get(defined as usize));
        let mut hints = Vec::new();
        let mut count = 0;
        for _ in 0..reader.read_var_u32()? {
            let offset = reader.read_var_u32()?;
            let len = reader.read_var_u32()?;
            let value = reader.read_bytes(len as usize)?;
            let moved = body.and_then(|(original, rewritten)| {
                let offset = original.start.checked_add(offset)?;
                let moved = original.contains(&offset).then_some(offset);
                Some(map.segments.rewritten(moved?)? - rewritten.start)
            });
            if let Some(moved) = moved {
                encoding::unsigned(&mut hints, moved);
                encoding::unsigned(&mut hints, len);
                hints.extend_from_slice(value);
                count += 1;
            }
        }
        if let Some(function) = map.rewritten_function(function) {
            encoding::unsigned(&mut functions, function.0);
            encoding::unsigned(&mut functions, count);
            functions.extend_from_slice(&hints);
            kept += 1;
        }
    }
    encoding::unsigned(out, kept);
    out.extend_from_slice(&functions);
    Ok(())
}
