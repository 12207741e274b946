//! Events of functions that may not call the host: replayed before the next that may.

use crate::layout::Callers;
use crate::listening::reach::Reach;
use crate::listening::store_calls::{Event, StoreCalls};
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
    let open = calls.calls.len();
    let mut staged: Vec<u64> = Vec::new();
    // The records are the rewriter's own; what cannot be read ends them.
    for record in Records::new(records).map_while(Result::ok) {
        staged.extend_from_slice(record.values());
        match record.hook {
            Hook::Stage => continue,
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
            Hook::Flush | Hook::Guard => {}
        }
        staged.clear();
    }
    // Those whose end was lost, or that a trap ended.
    calls.close_down_to(open, &Cause::Unknown, reach);
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
