//! The types of WASI preview 1, and those of the snapshot before it
//! (`wasi_unstable`) that differ.

use super::shape::Shape;
use Shape::{Flags, Names, Record, Signed, Union, Unsigned};

pub(super) const U8: Shape = Unsigned(1);
pub(super) const SIZE: Shape = Unsigned(4);
pub(super) const FILESIZE: Shape = Unsigned(8);
pub(super) const FILEDELTA: Shape = Signed(8);
pub(super) const TIMESTAMP: Shape = Unsigned(8);
pub(super) const DIRCOOKIE: Shape = Unsigned(8);
pub(super) const FD: Shape = Unsigned(4);
pub(super) const EXITCODE: Shape = Unsigned(4);
pub(super) const SIFLAGS: Shape = Unsigned(2);

pub(super) const CLOCKID: Shape = Names(
    4,
    &[
        "realtime",
        "monotonic",
        "process_cputime_id",
        "thread_cputime_id",
    ],
);
#[rustfmt::skip]
pub(super) const ERRNO: Shape = Names(2, &[
    "success", "2big", "acces", "addrinuse", "addrnotavail", "afnosupport", "again", "already",
    "badf", "badmsg", "busy", "canceled", "child", "connaborted", "connrefused", "connreset",
    "deadlk", "destaddrreq", "dom", "dquot", "exist", "fault", "fbig", "hostunreach", "idrm",
    "ilseq", "inprogress", "intr", "inval", "io", "isconn", "isdir", "loop", "mfile", "mlink",
    "msgsize", "multihop", "nametoolong", "netdown", "netreset", "netunreach", "nfile", "nobufs",
    "nodev", "noent", "noexec", "nolck", "nolink", "nomem", "nomsg", "noprotoopt", "nospc",
    "nosys", "notconn", "notdir", "notempty", "notrecoverable", "notsock", "notsup", "notty",
    "nxio", "overflow", "ownerdead", "perm", "pipe", "proto", "protonosupport", "prototype",
    "range", "rofs", "spipe", "srch", "stale", "timedout", "txtbsy", "xdev", "notcapable",
]);
#[rustfmt::skip]
pub(super) const RIGHTS: Shape = Flags(8, &[
    "fd_datasync", "fd_read", "fd_seek", "fd_fdstat_set_flags", "fd_sync", "fd_tell", "fd_write",
    "fd_advise", "fd_allocate", "path_create_directory", "path_create_file", "path_link_source",
    "path_link_target", "path_open", "fd_readdir", "path_readlink", "path_rename_source",
    "path_rename_target", "path_filestat_get", "path_filestat_set_size",
    "path_filestat_set_times", "fd_filestat_get", "fd_filestat_set_size",
    "fd_filestat_set_times", "path_symlink", "path_remove_directory", "path_unlink_file",
    "poll_fd_readwrite", "sock_shutdown", "sock_accept",
]);
pub(super) const WHENCE: Shape = Names(1, &["set", "cur", "end"]);
#[rustfmt::skip]
pub(super) const FILETYPE: Shape = Names(1, &[
    "unknown", "block_device", "character_device", "directory", "regular_file", "socket_dgram",
    "socket_stream", "symbolic_link",
]);
#[rustfmt::skip]
pub(super) const ADVICE: Shape = Names(1, &[
    "normal", "sequential", "random", "willneed", "dontneed", "noreuse",
]);
pub(super) const FDFLAGS: Shape = Flags(2, &["append", "dsync", "nonblock", "rsync", "sync"]);
pub(super) const FSTFLAGS: Shape = Flags(2, &["atim", "atim_now", "mtim", "mtim_now"]);
pub(super) const LOOKUPFLAGS: Shape = Flags(4, &["symlink_follow"]);
pub(super) const OFLAGS: Shape = Flags(2, &["creat", "directory", "excl", "trunc"]);
pub(super) const RIFLAGS: Shape = Flags(2, &["recv_peek", "recv_waitall"]);
pub(super) const ROFLAGS: Shape = Flags(2, &["recv_data_truncated"]);
pub(super) const SDFLAGS: Shape = Flags(1, &["rd", "wr"]);
#[rustfmt::skip]
pub(super) const SIGNAL: Shape = Names(1, &[
    "none", "hup", "int", "quit", "ill", "trap", "abrt", "bus", "fpe", "kill", "usr1", "segv",
    "usr2", "pipe", "alrm", "term", "chld", "cont", "stop", "tstp", "ttin", "ttou", "urg",
    "xcpu", "xfsz", "vtalrm", "prof", "winch", "poll", "pwr", "sys",
]);

pub(super) const IOVEC: Shape = Record(&[("buf", Unsigned(4)), ("buf_len", SIZE)]);
pub(super) const FDSTAT: Shape = Record(&[
    ("fs_filetype", FILETYPE),
    ("fs_flags", FDFLAGS),
    ("fs_rights_base", RIGHTS),
    ("fs_rights_inheriting", RIGHTS),
]);
pub(super) const FILESTAT: Shape = Record(&[
    ("dev", Unsigned(8)),
    ("ino", Unsigned(8)),
    ("filetype", FILETYPE),
    ("nlink", Unsigned(8)),
    ("size", FILESIZE),
    ("atim", TIMESTAMP),
    ("mtim", TIMESTAMP),
    ("ctim", TIMESTAMP),
]);
/// A directory entry; its name follows it in memory.
pub(super) const DIRENT: Shape = Record(&[
    ("d_next", DIRCOOKIE),
    ("d_ino", Unsigned(8)),
    ("d_namlen", SIZE),
    ("d_type", FILETYPE),
]);
pub(super) const PRESTAT: Shape = Union(&[("dir", Record(&[("pr_name_len", SIZE)]))]);
const EVENTTYPE: Shape = Names(1, &["clock", "fd_read", "fd_write"]);
const EVENT_FD_READWRITE: Shape = Record(&[
    ("nbytes", FILESIZE),
    ("flags", Flags(2, &["fd_readwrite_hangup"])),
]);
pub(super) const EVENT: Shape = Record(&[
    ("userdata", Unsigned(8)),
    ("error", ERRNO),
    ("type", EVENTTYPE),
    ("fd_readwrite", EVENT_FD_READWRITE),
]);
const SUBCLOCKFLAGS: Shape = Flags(2, &["subscription_clock_abstime"]);
const SUBSCRIPTION_CLOCK: Shape = Record(&[
    ("id", CLOCKID),
    ("timeout", TIMESTAMP),
    ("precision", TIMESTAMP),
    ("flags", SUBCLOCKFLAGS),
]);
const SUBSCRIPTION_FD: Shape = Record(&[("file_descriptor", FD)]);
pub(super) const SUBSCRIPTION: Shape = Record(&[
    ("userdata", Unsigned(8)),
    (
        "u",
        Union(&[
            ("clock", SUBSCRIPTION_CLOCK),
            ("fd_read", SUBSCRIPTION_FD),
            ("fd_write", SUBSCRIPTION_FD),
        ]),
    ),
]);

/// Types of `wasi_unstable` that are not those of preview 1.
pub(super) mod unstable {
    use super::*;

    pub(in super::super) const WHENCE: Shape = Names(1, &["cur", "end", "set"]);
    pub(in super::super) const FILESTAT: Shape = Record(&[
        ("dev", Unsigned(8)),
        ("ino", Unsigned(8)),
        ("filetype", FILETYPE),
        ("nlink", Unsigned(4)),
        ("size", FILESIZE),
        ("atim", TIMESTAMP),
        ("mtim", TIMESTAMP),
        ("ctim", TIMESTAMP),
    ]);
    const SUBSCRIPTION_CLOCK: Shape = Record(&[
        ("identifier", Unsigned(8)),
        ("id", CLOCKID),
        ("timeout", TIMESTAMP),
        ("precision", TIMESTAMP),
        ("flags", SUBCLOCKFLAGS),
    ]);
    pub(in super::super) const SUBSCRIPTION: Shape = Record(&[
        ("userdata", Unsigned(8)),
        (
            "u",
            Union(&[
                ("clock", SUBSCRIPTION_CLOCK),
                ("fd_read", SUBSCRIPTION_FD),
                ("fd_write", SUBSCRIPTION_FD),
            ]),
        ),
    ]);
}
