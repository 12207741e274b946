//! A thread of this process, told apart from any later one with the same number.

use crate::Error;
use std::fs;
use std::io;

/// One thread of this process: the kernel's number of it, and when it was started,
/// since numbers are used again.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct OsThread {
    tid: u32,
    /// In the kernel's ticks since the machine was started.
    started: u64,
}

impl OsThread {
    /// Returns the calling thread.
    ///
    /// # Errors
    ///
    /// [`Error::Threads`] where `/proc` cannot be read.
    pub fn current() -> Result<Self, Error> {
        let stat = fs::read("/proc/thread-self/stat").map_err(Error::Threads)?;
        let tid = super::thread::current_tid().unsigned_abs();
        Ok(Self {
            tid,
            started: started(&stat).ok_or_else(|| Error::Threads(unreadable()))?,
        })
    }

    /// Returns the thread that has this number now.
    ///
    /// # Errors
    ///
    /// [`Error::ThreadGone`] when this process has no such thread.
    pub fn with_tid(tid: u32) -> Result<Self, Error> {
        fs::read(format!("/proc/self/task/{tid}/stat"))
            .ok()
            .and_then(|stat| started(&stat))
            .map(|started| Self { tid, started })
            .ok_or(Error::ThreadGone { tid })
    }

    /// Returns all threads that this process has now, the calling one among them.
    ///
    /// # Errors
    ///
    /// [`Error::Threads`] where `/proc` cannot be read.
    pub fn all() -> Result<Vec<Self>, Error> {
        let mut threads = Vec::new();
        for entry in fs::read_dir("/proc/self/task").map_err(Error::Threads)? {
            let entry = entry.map_err(Error::Threads)?;
            let tid = entry.file_name().to_str().and_then(|tid| tid.parse().ok());
            // One that ends meanwhile is not one that there is.
            threads.extend(tid.and_then(|tid| Self::with_tid(tid).ok()));
        }
        Ok(threads)
    }

    /// Returns the kernel's number of it.
    #[must_use]
    pub fn tid(self) -> u32 {
        self.tid
    }

    /// Returns its name as the kernel has it, which is at most 15 bytes of the one that
    /// it was given; `None` when it has ended.
    #[must_use]
    pub fn name(self) -> Option<String> {
        let name = fs::read(format!("/proc/self/task/{}/comm", self.tid)).ok()?;
        let name = String::from_utf8_lossy(name.trim_ascii_end()).into_owned();
        self.is_alive().then_some(name)
    }

    /// Tells whether it has not ended yet.
    #[must_use]
    pub fn is_alive(self) -> bool {
        Self::with_tid(self.tid).is_ok_and(|now| now == self)
    }

    /// Tells whether it blocks `signal` now.
    pub(crate) fn blocks(self, signal: i32) -> bool {
        let Ok(status) = fs::read_to_string(format!("/proc/self/task/{}/status", self.tid)) else {
            return false;
        };
        let mask = status
            .lines()
            .find_map(|line| line.strip_prefix("SigBlk:"))
            .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
        mask.is_some_and(|mask| mask & (1 << (signal - 1)) != 0)
    }
}

fn unreadable() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "/proc/thread-self/stat")
}

/// Finds the start time in `/proc/.../stat`, whose second field is a name in brackets
/// that may hold anything.
fn started(stat: &[u8]) -> Option<u64> {
    const AFTER_NAME: usize = 19;
    let name = stat.iter().rposition(|byte| *byte == b')')?;
    let fields = std::str::from_utf8(stat.get(name + 1..)?).ok()?;
    fields
        .split_ascii_whitespace()
        .nth(AFTER_NAME)?
        .parse()
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_is_itself_until_it_ends() {
        let here = OsThread::current().expect("proc");
        assert!(here.is_alive());
        assert_eq!(OsThread::with_tid(here.tid()).expect("lives"), here);
        assert!(OsThread::all().expect("proc").contains(&here));
        let other = std::thread::Builder::new()
            .name("odd ) name".to_owned())
            .spawn(|| {
                let here = OsThread::current().expect("proc");
                assert_eq!(here.name().as_deref(), Some("odd ) name"));
                here
            })
            .expect("starts")
            .join()
            .expect("no panic");
        assert_ne!(other, here);
        // The kernel may take a moment after the join.
        while other.is_alive() {
            std::thread::yield_now();
        }
        assert_eq!(other.name(), None);
    }

    #[test]
    fn blocked_signals_are_seen() {
        let here = OsThread::current().expect("proc");
        assert!(!here.blocks(libc::SIGPROF));
    }
}
