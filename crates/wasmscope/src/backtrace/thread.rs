//! What each thread keeps for its walks.

use super::codes::Codes;
use super::stack::BacktraceEnd;
use std::cell::Cell;
use std::sync::Arc;
use wasmscope_sample::{CodeMap, HostFrames, OwnCapture, Visit};

/// One thread's means of walking, and the code that it last walked with.
struct ThreadWalk {
    capture: OwnCapture,
    generation: u64,
    map: Arc<CodeMap>,
}

thread_local! {
    /// Taken out while a walk goes on: a visitor that walks gets another.
    static WALK: Cell<Option<Box<ThreadWalk>>> = const { Cell::new(None) };
}

/// Tells whether stacks can be walked on this platform.
pub(super) fn is_supported() -> bool {
    with(|_| ()).is_some()
}

/// Walks the calling thread's stack. `generation` is of the code that is known now, and
/// `codes` returns that.
#[inline(always)]
pub(super) fn walk(
    generation: u64,
    codes: impl FnOnce() -> Arc<Codes>,
    host_frames: HostFrames,
    visit: &mut impl Visit,
) -> BacktraceEnd {
    let end = with(|walk| {
        if walk.generation != generation {
            let codes = codes();
            walk.generation = codes.generation;
            walk.map = Arc::clone(&codes.map);
            walk.capture.refresh();
        }
        walk.capture
            .visit(&walk.map, walk.generation, host_frames, visit)
    });
    end.map_or(BacktraceEnd::Whole, BacktraceEnd::from)
}

#[inline(always)]
fn with<R>(f: impl FnOnce(&mut ThreadWalk) -> R) -> Option<R> {
    // Threads that are about to end have no such variable any more.
    let taken = WALK.try_with(Cell::take).ok().flatten();
    let mut walk = match taken {
        Some(walk) => walk,
        None => Box::new(ThreadWalk {
            capture: OwnCapture::new()?,
            generation: 0,
            map: Arc::default(),
        }),
    };
    let result = f(&mut walk);
    let _ = WALK.try_with(|slot| slot.set(Some(walk)));
    Some(result)
}
