//! What the flags mean together: checked, with files found and defaults filled in,
//! before anything is compiled or run.

mod backtrace;
mod guest;
mod instrument;
mod profile;
mod trace;

pub(crate) use backtrace::{BacktracePlan, ShowPlan};
pub(crate) use guest::GuestPlan;
pub(crate) use instrument::InstrumentPlan;
pub(crate) use profile::ProfilePlan;
pub(crate) use trace::TracePlan;
