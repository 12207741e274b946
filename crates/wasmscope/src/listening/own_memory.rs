//! The memory that is added to modules, where an engine may have no room for it.

use wasmtime::{Engine, Module};

/// Tells whether an engine has room for modules with so many memories, but not with one more.
pub(super) fn is_one_too_many(engine: &Engine, memories: u32) -> bool {
    let has_room = |count: u32| module(count).is_none_or(|wasm| Module::new(engine, wasm).is_ok());
    has_room(memories) && !has_room(memories + 1)
}

/// Returns a module of so many empty memories, unless they are more than are written so easily.
fn module(memories: u32) -> Option<Vec<u8>> {
    const MEMORY_SECTION: u8 = 5;
    const EMPTY: [u8; 2] = [0, 0];
    let count = u8::try_from(memories).ok()?;
    let size = 1 + count.checked_mul(2)?;
    (size < 1 << 7).then(|| {
        let mut wasm = b"\0asm\x01\0\0\0".to_vec();
        wasm.extend([MEMORY_SECTION, size, count]);
        wasm.extend(EMPTY.repeat(count.into()));
        wasm
    })
}

#[cfg(test)]
mod tests {
    use super::is_one_too_many;
    use wasmtime::{Config, Engine, PoolingAllocationConfig};

    #[test]
    fn a_pool_says_how_many_it_has_room_for() {
        let mut pool = PoolingAllocationConfig::new();
        pool.max_memories_per_module(3);
        let mut config = Config::new();
        config.allocation_strategy(pool);
        let pooling = Engine::new(&config).unwrap();
        let at = |memories| is_one_too_many(&pooling, memories);
        assert_eq!([0, 1, 2, 3, 4].map(at), [false, false, false, true, false]);
        let any = Engine::default();
        assert!((0..70).all(|memories| !is_one_too_many(&any, memories)));
    }
}
