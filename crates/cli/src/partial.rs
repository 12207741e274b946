//! Keeps what is known so far in a file beside the profile, in case this process is
//! killed.

use crate::output::Output;
use crate::terminal;
use anyhow::{Context, Result};
use std::path::PathBuf;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};
use wasmscope::Profiler;

/// When the first partial profile is written.
const FIRST: Duration = Duration::from_secs(1);
/// Writing takes at most one part in so many of the time.
const SHARE: u32 = 50;

/// A thread that writes partial profiles until it is told to stop.
#[derive(Debug)]
pub(crate) struct Partial {
    path: PathBuf,
    stop: Sender<()>,
    thread: JoinHandle<()>,
}

impl Partial {
    /// Starts to write, or does nothing where there is no place for it.
    ///
    /// # Errors
    ///
    /// When no thread can be started.
    pub(crate) fn start(output: &Output, profiler: &Profiler) -> Result<Option<Self>> {
        let Some(path) = output.partial() else {
            return Ok(None);
        };
        let (stop, stopped) = mpsc::channel();
        let (profiler, format, to) = (profiler.clone(), output.format, path.clone());
        let write = move || {
            let mut pause = FIRST;
            while stopped.recv_timeout(pause) == Err(RecvTimeoutError::Timeout) {
                let begin = Instant::now();
                let saved = profiler.snapshot().profile().save(&to, format);
                if let Err(error) = saved {
                    terminal::warning(&format!(
                        "failed to {error}; this run leaves no partial profile if it is killed"
                    ));
                    return;
                }
                // Longer and longer, because what is written grows as well.
                pause = next_pause(pause, begin.elapsed());
            }
        };
        let thread = thread::Builder::new()
            .name("partial".to_owned())
            .spawn(write)
            .context("failed to start a thread for partial profiles")?;
        Ok(Some(Self { path, stop, thread }))
    }

    /// Ends the writing; the file, if there is one, stays. Waits for a file that is
    /// being written.
    pub(crate) fn stop(self) -> PartialFile {
        drop(self.stop);
        // A panic there has been reported already.
        let _ = self.thread.join();
        PartialFile { path: self.path }
    }
}

/// What was written last, if anything.
#[derive(Debug)]
pub(crate) struct PartialFile {
    path: PathBuf,
}

impl PartialFile {
    /// Removes it, now that there is the whole profile.
    pub(crate) fn remove(self) {
        // Most often there is none.
        let _ = std::fs::remove_file(self.path);
    }
}

fn next_pause(pause: Duration, took: Duration) -> Duration {
    (pause * 3 / 2)
        .min(Duration::from_secs(60))
        .max(took * SHARE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writing_takes_a_fiftieth_of_the_time() {
        let millis = Duration::from_millis;
        assert_eq!(next_pause(FIRST, millis(1)), millis(1500));
        assert_eq!(next_pause(FIRST, millis(100)), millis(5000));
        assert_eq!(next_pause(millis(50_000), millis(1)), millis(60_000));
        assert_eq!(next_pause(millis(60_000), millis(3000)), millis(150_000));
    }
}
