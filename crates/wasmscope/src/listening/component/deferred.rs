//! Events of functions that may not call the host: replayed before the next that may, or
//! when the host has its store back.

use crate::layout::Callers;
use crate::listening::reach::Reach;
use crate::listening::store_calls::{Event, ListenerPanic, StoreCalls, raise};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering;
use wasmscope_instrument::component::deferred::Records;
use wasmscope_instrument::hooks::Hook;
use wasmscope_listen::{Cause, Values};

/// Tells listeners of calls that are over, within what is open where `callers` begin.
pub(super) fn replay(
    calls: &mut StoreCalls,
    callers: Callers,
    records: &[u8],
    lost: u64,
    reach: &dyn Reach,
) {
    calls.settle(Event::Close, callers, reach);
    if lost > 0 {
        note_lost(calls, records, lost);
    }
    raise(replay_here(calls, records, &Cause::Unknown, reach));
}

/// Tells listeners of calls that are over, within the newest that is open. Those whose end is
/// not among the records are closed with `cause`.
///
/// The records do not say which task they are of. While other tasks have calls open, the
/// newest is nobody's parent.
///
/// A listener that panics does not keep the others from hearing. Returns the first panic.
pub(in crate::listening) fn replay_here(
    calls: &mut StoreCalls,
    records: &[u8],
    cause: &Cause<'_>,
    reach: &dyn Reach,
) -> Option<ListenerPanic> {
    let open = calls.calls.len();
    calls.not_parents = if calls.has_other_tasks() { open } else { 0 };
    let mut panic = None;
    let mut staged: Vec<u64> = Vec::new();
    // The records are the rewriter's own; what cannot be read ends them.
    for record in Records::new(records).map_while(Result::ok) {
        staged.extend_from_slice(record.values());
        if record.hook == Hook::Stage {
            continue;
        }
        let told = catch_unwind(AssertUnwindSafe(|| match record.hook {
            Hook::Before(_) => {
                calls.open_deferred(record.instance, record.probe, &staged, reach);
            }
            Hook::After(_) => calls.close_deferred(open, reach, |probe, call, slot| {
                let results = Values::new(&probe.definition.results, &staged);
                probe.listener.after(call, results, slot);
            }),
            Hook::Tail => calls.close_deferred(open, reach, |probe, call, slot| {
                probe.listener.tail_call(call, slot);
            }),
            Hook::Unwind => calls.close_deferred(open, reach, |probe, call, slot| {
                probe.listener.abort(call, &Cause::Exception, slot);
            }),
            Hook::Stage | Hook::Flush | Hook::Guard => {}
        }));
        panic = panic.or(told.err());
        staged.clear();
    }
    // Those whose end was lost, or that a trap ended.
    panic = panic.or(calls.try_close_down_to(open, cause, reach));
    calls.not_parents = 0;
    panic
}

/// Counts events that had no room, for the component whose events the others are.
fn note_lost(calls: &StoreCalls, records: &[u8], lost: u64) {
    let first = Records::new(records).find_map(Result::ok);
    let attached = first.and_then(|first| calls.instances.get(first.instance as usize));
    let component = calls
        .components
        .iter()
        .find(|component| attached.is_some_and(|attached| component.has(&attached.module)));
    if let Some(component) = component.or(calls.components.first()) {
        component.lost.fetch_add(lost, Ordering::Relaxed);
    }
}
