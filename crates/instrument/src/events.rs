//! Events that a guest writes down for itself, and its host reads many at a time.
//!
//! With [`Options::events`](crate::Options::events) a probe calls no hook. It writes a
//! record of 8 bytes into a memory that only its own code and the host know of, which
//! lies behind all memories of the module and is exported as [`memory_export`]. A global,
//! exported as [`position_export`], says where the next record goes.
//!
//! ```text
//!    global.get $position
//!    local.tee $next
//!    i64.const record              ;; write the record
//!    i64.store $events
//!    local.get $next
//!    i32.const 8
//!    i32.add
//!    local.tee $next
//!    i32.const size
//!    i32.ne
//!    if (result i32)
//!      local.get $next             ;; advance
//!    else                          ;; or, when that was the last place,
//!      global.get $instance        ;; let the host take what is there
//!      call flush
//!      i32.const 0                 ;; and begin again
//!    end
//!    global.set $position
//! ```
//!
//! The one store of the position, after all else, is what makes this quick: with a second
//! one in the branch an event took twice as long.
//!
//! So at a `flush` the memory is full, and at any other time the records before the
//! position are those that the host has not seen. The first record of an instance is an
//! exception: the position starts at the last place ([`Events::first_position`]), so the
//! host hears of the instance with its first event, which is all there is then.
//!
//! During a `flush` the position is that of the last place. A host that may not return
//! from it sets the position to 0 before, or the next event brings the same records again.
//! A host that reads what lies before the position on the guest's way to the `flush`, from a
//! call hook say, sets it to 0 too: so it knows at the `flush` that only the last is new.
//! Whatever the host does, no record is written past the end.
//!
//! In components the position is in the memory too, behind the records, and starts at 0: the
//! host has heard of the instance by then (see [`component`](crate::component)).

use std::num::NonZeroU16;

use crate::control::{self, PAGE};
use crate::encoding::Code;
use crate::hooks::Hook;
use crate::plan::Plan;

/// How an instance keeps its events.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Events {
    /// The size of the memory, in pages of 64 KiB: each holds 8,192 records.
    pub pages: NonZeroU16,
}

impl Default for Events {
    /// One mebibyte: 131,072 records.
    fn default() -> Self {
        Self {
            pages: NonZeroU16::MIN.saturating_add(15),
        }
    }
}

impl Events {
    /// Returns the size of the memory in bytes.
    #[must_use]
    pub fn size(self) -> u32 {
        u32::from(self.pages.get()) * PAGE
    }

    /// Returns the position that an instance starts with.
    #[must_use]
    pub fn first_position(self) -> u32 {
        self.size() - Event::SIZE
    }
}

/// The name of the export of the memory that the records are in.
#[must_use]
pub fn memory_export(suffix: &str) -> String {
    format!("wasmscope:events{suffix}")
}

/// The name of the export of the position, a global of type `(mut i32)`: the address of
/// the next record.
#[must_use]
pub fn position_export(suffix: &str) -> String {
    format!("wasmscope:position{suffix}")
}

/// What happened to a call.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum EventKind {
    /// It began.
    Open,
    /// It returned.
    Return,
    /// It is about to make a tail call, which takes its place.
    Tail,
    /// An exception passed through it.
    Unwind,
}

/// One event: what happened to a call of a function that has a probe.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Event {
    /// The number of the function's probe.
    pub probe: u32,
    /// What happened.
    pub kind: EventKind,
}

impl Event {
    /// The size of a record in bytes.
    pub const SIZE: u32 = 8;

    /// Returns the event as its record, which is stored in little-endian order: the
    /// kind in the lowest two bits, the probe's number above them.
    ///
    /// ```
    /// use wasmscope_instrument::events::{Event, EventKind};
    ///
    /// let event = Event { probe: 5, kind: EventKind::Tail };
    /// assert_eq!(event.record(), 22);
    /// assert_eq!(Event::of_record(22), event);
    /// ```
    #[must_use]
    pub fn record(self) -> u64 {
        u64::from(self.probe) << 2 | self.kind as u64
    }

    /// Returns the event of a record; bits above those that are used say nothing.
    #[inline]
    #[must_use]
    pub fn of_record(record: u64) -> Self {
        Self {
            probe: (record >> 2) as u32,
            kind: match record & 3 {
                0 => EventKind::Open,
                1 => EventKind::Return,
                2 => EventKind::Tail,
                _ => EventKind::Unwind,
            },
        }
    }
}

/// Writes the code that keeps one event, which uses a local of type `i32`.
pub(crate) fn write(
    code: &mut Code<'_>,
    plan: &Plan<'_, '_>,
    events: Events,
    event: Event,
    next: u32,
) {
    control::advance(code, plan, |code| {
        code.local_tee(next)
            .i64_const(event.record().cast_signed())
            .i64_store(plan.own_memory())
            .local_get(next)
            .i32_const(Event::SIZE.cast_signed())
            .i32_add()
            .local_tee(next)
            .i32_const(events.size().cast_signed())
            .i32_ne()
            .if_i32()
            .local_get(next)
            .else_()
            .global_get(plan.instance())
            .call(plan.hook(Hook::Flush))
            .i32_const(0)
            .end();
    });
}
