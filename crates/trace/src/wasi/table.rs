//! The functions of WASI preview 1, one a line.
//!
//! A line lists what a function takes, in order. What it gives back through
//! pointers comes last, as in C; what it returns itself is an error number.

use super::shape::Shape;
use super::shapes::*;
use Parameter::{Argv, Buffer, Dirents, Gather, In, Out, Path, Scatter, Some as Several, Written};

/// One parameter as WASI's documentation has it, one or two as Wasm has them.
#[derive(Clone, Copy, Debug)]
pub enum Parameter {
    /// A plain value.
    In(&'static str, Shape),
    /// The address and length of text.
    Path(&'static str),
    /// The address and length of a list of buffers to take bytes from.
    Gather(&'static str),
    /// The address and length of a list of buffers to put bytes into, as many as the
    /// next `Out` says.
    Scatter(&'static str),
    /// The address and length of a buffer to put bytes into, as many as the next
    /// `Out` says, or, where there is none, until it is full.
    Buffer(&'static str),
    /// The same, with directory entries in it.
    Dirents(&'static str),
    /// The address of a list; how many there are is the `In` of this name.
    Some(&'static str, Shape, &'static str),
    /// The address of a list to fill, with as many as the next `Out` says.
    Written(&'static str, Shape),
    /// The address of a list of addresses, and that of the text which they point
    /// into, both to be filled.
    Argv(&'static str),
    /// The address of a place for a result.
    Out(&'static str, Shape),
}

impl Parameter {
    /// Returns how many parameters it is in Wasm.
    pub fn width(self) -> usize {
        match self {
            In(..) | Several(..) | Written(..) | Out(..) => 1,
            Path(_) | Gather(_) | Scatter(_) | Buffer(_) | Dirents(_) | Argv(_) => 2,
        }
    }
}

/// A function: its name, and what it takes.
pub(super) type Row = (&'static str, &'static [Parameter]);

#[rustfmt::skip]
pub(super) const PREVIEW1: &[Row] = &[
    ("args_get", &[Argv("argv")]),
    ("args_sizes_get", &[Out("argc", SIZE), Out("argv_buf_size", SIZE)]),
    ("environ_get", &[Argv("environ")]),
    ("environ_sizes_get", &[Out("environc", SIZE), Out("environ_buf_size", SIZE)]),
    ("clock_res_get", &[In("id", CLOCKID), Out("resolution", TIMESTAMP)]),
    ("clock_time_get", &[In("id", CLOCKID), In("precision", TIMESTAMP), Out("time", TIMESTAMP)]),
    ("fd_advise", &[In("fd", FD), In("offset", FILESIZE), In("len", FILESIZE), In("advice", ADVICE)]),
    ("fd_allocate", &[In("fd", FD), In("offset", FILESIZE), In("len", FILESIZE)]),
    ("fd_close", &[In("fd", FD)]),
    ("fd_datasync", &[In("fd", FD)]),
    ("fd_fdstat_get", &[In("fd", FD), Out("stat", FDSTAT)]),
    ("fd_fdstat_set_flags", &[In("fd", FD), In("flags", FDFLAGS)]),
    ("fd_fdstat_set_rights", &[In("fd", FD), In("fs_rights_base", RIGHTS), In("fs_rights_inheriting", RIGHTS)]),
    ("fd_filestat_get", &[In("fd", FD), Out("buf", FILESTAT)]),
    ("fd_filestat_set_size", &[In("fd", FD), In("size", FILESIZE)]),
    ("fd_filestat_set_times", &[In("fd", FD), In("atim", TIMESTAMP), In("mtim", TIMESTAMP), In("fst_flags", FSTFLAGS)]),
    ("fd_pread", &[In("fd", FD), Scatter("iovs"), In("offset", FILESIZE), Out("nread", SIZE)]),
    ("fd_prestat_get", &[In("fd", FD), Out("buf", PRESTAT)]),
    ("fd_prestat_dir_name", &[In("fd", FD), Buffer("path")]),
    ("fd_pwrite", &[In("fd", FD), Gather("iovs"), In("offset", FILESIZE), Out("nwritten", SIZE)]),
    ("fd_read", &[In("fd", FD), Scatter("iovs"), Out("nread", SIZE)]),
    ("fd_readdir", &[In("fd", FD), Dirents("buf"), In("cookie", DIRCOOKIE), Out("bufused", SIZE)]),
    ("fd_renumber", &[In("fd", FD), In("to", FD)]),
    ("fd_seek", &[In("fd", FD), In("offset", FILEDELTA), In("whence", WHENCE), Out("newoffset", FILESIZE)]),
    ("fd_sync", &[In("fd", FD)]),
    ("fd_tell", &[In("fd", FD), Out("offset", FILESIZE)]),
    ("fd_write", &[In("fd", FD), Gather("iovs"), Out("nwritten", SIZE)]),
    ("path_create_directory", &[In("fd", FD), Path("path")]),
    ("path_filestat_get", &[In("fd", FD), In("flags", LOOKUPFLAGS), Path("path"), Out("buf", FILESTAT)]),
    ("path_filestat_set_times", &[In("fd", FD), In("flags", LOOKUPFLAGS), Path("path"), In("atim", TIMESTAMP), In("mtim", TIMESTAMP), In("fst_flags", FSTFLAGS)]),
    ("path_link", &[In("old_fd", FD), In("old_flags", LOOKUPFLAGS), Path("old_path"), In("new_fd", FD), Path("new_path")]),
    ("path_open", &[In("fd", FD), In("dirflags", LOOKUPFLAGS), Path("path"), In("oflags", OFLAGS), In("fs_rights_base", RIGHTS), In("fs_rights_inheriting", RIGHTS), In("fdflags", FDFLAGS), Out("opened_fd", FD)]),
    ("path_readlink", &[In("fd", FD), Path("path"), Buffer("buf"), Out("bufused", SIZE)]),
    ("path_remove_directory", &[In("fd", FD), Path("path")]),
    ("path_rename", &[In("fd", FD), Path("old_path"), In("new_fd", FD), Path("new_path")]),
    ("path_symlink", &[Path("old_path"), In("fd", FD), Path("new_path")]),
    ("path_unlink_file", &[In("fd", FD), Path("path")]),
    ("poll_oneoff", &[Several("in", SUBSCRIPTION, "nsubscriptions"), Written("out", EVENT), In("nsubscriptions", SIZE), Out("nevents", SIZE)]),
    ("proc_exit", &[In("rval", EXITCODE)]),
    ("proc_raise", &[In("sig", SIGNAL)]),
    ("sched_yield", &[]),
    ("random_get", &[Buffer("buf")]),
    ("sock_accept", &[In("fd", FD), In("flags", FDFLAGS), Out("accepted_fd", FD)]),
    ("sock_recv", &[In("fd", FD), Scatter("ri_data"), In("ri_flags", RIFLAGS), Out("ro_datalen", SIZE), Out("ro_flags", ROFLAGS)]),
    ("sock_send", &[In("fd", FD), Gather("si_data"), In("si_flags", SIFLAGS), Out("so_datalen", SIZE)]),
    ("sock_shutdown", &[In("fd", FD), In("how", SDFLAGS)]),
];

/// The functions of `wasi_unstable` that differ, if only by a type.
#[rustfmt::skip]
pub(super) const UNSTABLE: &[Row] = &[
    ("fd_filestat_get", &[In("fd", FD), Out("buf", unstable::FILESTAT)]),
    ("fd_seek", &[In("fd", FD), In("offset", FILEDELTA), In("whence", unstable::WHENCE), Out("newoffset", FILESIZE)]),
    ("path_filestat_get", &[In("fd", FD), In("flags", LOOKUPFLAGS), Path("path"), Out("buf", unstable::FILESTAT)]),
    ("poll_oneoff", &[Several("in", unstable::SUBSCRIPTION, "nsubscriptions"), Written("out", EVENT), In("nsubscriptions", SIZE), Out("nevents", SIZE)]),
];

/// The functions of preview 1 that `wasi_unstable` has not.
pub(super) const NEW: &[&str] = &["sock_accept"];
