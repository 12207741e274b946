//! Ctrl-C and SIGTERM, which end the guest but not its profile.

use crate::exit;
use anyhow::{Context, Result};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use signal_hook::low_level;
use std::thread;

/// Why the program was told to end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Interrupt {
    CtrlC,
    Terminate,
}

impl Interrupt {
    /// Returns the program's exit status for it.
    pub(crate) const fn status(self) -> i32 {
        match self {
            Self::CtrlC => exit::INTERRUPTED,
            Self::Terminate => exit::TERMINATED,
        }
    }
}

/// Calls `told` on a thread of its own at the first signal. At the second the
/// program ends at once: whoever presses Ctrl-C twice does not want to wait for a
/// profile.
///
/// # Errors
///
/// When the signals cannot be handled.
pub(crate) fn listen(told: impl Fn(Interrupt) + Send + 'static) -> Result<()> {
    let mut signals =
        Signals::new([SIGINT, SIGTERM]).context("failed to listen to Ctrl-C and SIGTERM")?;
    thread::Builder::new()
        .name("signals".to_owned())
        .spawn(move || {
            let mut is_second = false;
            for signal in signals.forever() {
                let interrupt = match signal {
                    SIGINT => Interrupt::CtrlC,
                    _ => Interrupt::Terminate,
                };
                if is_second {
                    low_level::exit(interrupt.status());
                }
                is_second = true;
                told(interrupt);
            }
        })
        .context("failed to start a thread for signals")?;
    Ok(())
}
