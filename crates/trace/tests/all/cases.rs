//! Calls of WASI, case by case: what is in memory before and after, and the line that
//! the trace shows.

use crate::fixture::Bytes;
use wasmscope_listen::fake::Guest;
use wasmscope_listen::{Cause, Definition, FuncIndex, Value, ValueType};
use wasmscope_trace::Tracer;
use wasmscope_trace::wasi::Function;

type Memory = Vec<u8>;

/// Puts bytes into memory.
fn put(memory: &mut Memory, at: usize, bytes: &[u8]) {
    memory[at..at + bytes.len()].copy_from_slice(bytes);
}

/// Puts 32-bit numbers into memory.
fn put32(memory: &mut Memory, at: usize, words: &[u32]) {
    for (place, word) in words.iter().enumerate() {
        put(memory, at + 4 * place, &word.to_le_bytes());
    }
}

/// Puts 64-bit numbers into memory.
fn put64(memory: &mut Memory, at: usize, words: &[u64]) {
    for (place, word) in words.iter().enumerate() {
        put(memory, at + 8 * place, &word.to_le_bytes());
    }
}

/// Returns the line of a call of `module`'s function in a memory of 1 KiB.
fn line_in(
    module: &str,
    name: &str,
    params: &[u64],
    before: impl FnOnce(&mut Memory),
    after: impl FnOnce(&mut Memory),
    errno: i32,
) -> String {
    let function = Function::find(module, name).unwrap_or_else(|| panic!("{name}"));
    assert_eq!(function.width(), params.len(), "{name}: parameters");
    let types = vec![ValueType::I64; params.len()];
    let definition = Definition::import(FuncIndex(0), module, name).typed(types, [ValueType::I32]);
    let bytes = Bytes::default();
    let tracer = Tracer::builder().write_to(bytes.clone());
    let mut guest = Guest::new([definition], &tracer);
    let mut memory = vec![0xaa; 1024];
    before(&mut memory);
    guest.instance.memories.push(memory);
    let values: Vec<Value> = params
        .iter()
        .map(|param| Value::I64(param.cast_signed()))
        .collect();
    let ended = guest.call(FuncIndex(0), &values, |guest| {
        after(&mut guest.instance.memories[0]);
        Ok(vec![Value::I32(errno)])
    });
    assert!(ended.is_ok());
    tracer.finish().unwrap();
    bytes.text()
}

fn line(
    name: &str,
    params: &[u64],
    before: impl FnOnce(&mut Memory),
    after: impl FnOnce(&mut Memory),
    errno: i32,
) -> String {
    line_in("wasi_snapshot_preview1", name, params, before, after, errno)
}

fn nothing(_: &mut Memory) {}

#[test]
fn plain_values_and_flags() {
    const ALL: u64 = (1 << 30) - 1;
    for (name, params, errno, expected) in [
        ("sched_yield", &[][..], 0, "() = errno success"),
        ("fd_close", &[3], 8, "(3) = errno badf"),
        ("fd_close", &[3], 77, "(3) = errno 77"),
        ("fd_sync", &[4], 0, "(4) = errno success"),
        ("fd_datasync", &[4], 58, "(4) = errno notsup"),
        ("fd_renumber", &[4, 5], 0, "(4, 5) = errno success"),
        (
            "fd_advise",
            &[3, 1 << 40, 4096, 3],
            0,
            "(3, 1099511627776, 4096, willneed) = errno success",
        ),
        ("fd_advise", &[3, 0, 0, 9], 28, "(3, 0, 0, 9) = errno inval"),
        ("fd_allocate", &[3, 0, 10], 0, "(3, 0, 10) = errno success"),
        (
            "fd_fdstat_set_flags",
            &[3, 0b1_0101],
            0,
            "(3, append|nonblock|sync) = errno success",
        ),
        ("fd_fdstat_set_flags", &[3, 0], 0, "(3, 0) = errno success"),
        (
            "fd_fdstat_set_flags",
            &[3, 0x21],
            28,
            "(3, append|0x20) = errno inval",
        ),
        (
            "fd_fdstat_set_rights",
            &[3, 0b10, ALL],
            0,
            "(3, fd_read, all) = errno success",
        ),
        (
            "fd_fdstat_set_rights",
            &[3, ALL & !2, ALL | 1 << 63],
            76,
            "(3, ~(fd_read), all|0x8000000000000000) = errno notcapable",
        ),
        (
            "fd_filestat_set_size",
            &[3, u64::MAX],
            22,
            "(3, 18446744073709551615) = errno fbig",
        ),
        (
            "fd_filestat_set_times",
            &[3, 1, 2, 0b110],
            0,
            "(3, 1, 2, atim_now|mtim) = errno success",
        ),
        ("proc_raise", &[6], 52, "(abrt) = errno nosys"),
        ("sock_shutdown", &[3, 3], 53, "(3, rd|wr) = errno notconn"),
    ] {
        let found = line(name, params, nothing, nothing, errno);
        assert_eq!(found, format!("wasi.{name}{expected}\n"));
    }
}

#[test]
fn results_behind_pointers() {
    // Where results go, and what is there after the call.
    for (name, params, results, expected) in [
        (
            "clock_time_get",
            &[1, 1000, 64][..],
            &[1_700_000_000_000_000_000_u64][..],
            "(monotonic, 1000) = 1700000000000000000 (errno success)",
        ),
        (
            "clock_res_get",
            &[3, 64],
            &[1],
            "(thread_cputime_id) = 1 (errno success)",
        ),
        ("clock_res_get", &[17, 64], &[1], "(17) = 1 (errno success)"),
        ("fd_tell", &[3, 64], &[77], "(3) = 77 (errno success)"),
        (
            "fd_seek",
            &[3, (-5_i64).cast_unsigned(), 1, 64],
            &[95],
            "(3, -5, cur) = 95 (errno success)",
        ),
        (
            "args_sizes_get",
            &[64, 68],
            &[14 << 32 | 2],
            "() = argc=2, argv_buf_size=14 (errno success)",
        ),
        (
            "environ_sizes_get",
            &[64, 68],
            &[9 << 32 | 1],
            "() = environc=1, environ_buf_size=9 (errno success)",
        ),
        (
            "fd_prestat_get",
            &[3, 64],
            &[5 << 32],
            "(3) = {dir={pr_name_len=5}} (errno success)",
        ),
        (
            "fd_fdstat_get",
            &[1, 64],
            &[2 | 1 << 16, 1 << 6, 0],
            "(1) = {fs_filetype=character_device, fs_flags=append, fs_rights_base=fd_write, \
             fs_rights_inheriting=0} (errno success)",
        ),
        (
            "fd_filestat_get",
            &[3, 64],
            &[1, 2, 4, 1, 1234, 5, 6, 7],
            "(3) = {dev=1, ino=2, filetype=regular_file, nlink=1, size=1234, atim=5, mtim=6, \
             ctim=7} (errno success)",
        ),
        (
            "sock_accept",
            &[3, 4, 64],
            &[9],
            "(3, nonblock) = 9 (errno success)",
        ),
    ] {
        let after = |memory: &mut Memory| put64(memory, 64, results);
        let found = line(name, params, nothing, after, 0);
        assert_eq!(found, format!("wasi.{name}{expected}\n"));
    }
    // A call that failed left nothing, whatever is there.
    let after = |memory: &mut Memory| put64(memory, 64, &[1]);
    assert_eq!(
        line("fd_tell", &[3, 64], nothing, after, 70),
        "wasi.fd_tell(3) = errno spipe\n"
    );
}

#[test]
fn paths() {
    let names = |memory: &mut Memory| {
        put(memory, 100, b"some \"file\"\n");
        put(memory, 200, b"dir/new");
    };
    for (name, params, expected) in [
        (
            "path_create_directory",
            &[3, 200, 7][..],
            "(3, \"dir/new\") = errno success",
        ),
        (
            "path_remove_directory",
            &[3, 200, 3],
            "(3, \"dir\") = errno success",
        ),
        (
            "path_unlink_file",
            &[3, 100, 12],
            "(3, \"some \\\"file\\\"\\n\") = errno success",
        ),
        (
            "path_rename",
            &[3, 100, 4, 4, 200, 7],
            "(3, \"some\", 4, \"dir/new\") = errno success",
        ),
        (
            "path_symlink",
            &[100, 4, 3, 200, 7],
            "(\"some\", 3, \"dir/new\") = errno success",
        ),
        (
            "path_link",
            &[3, 1, 100, 4, 4, 200, 7],
            "(3, symlink_follow, \"some\", 4, \"dir/new\") = errno success",
        ),
        (
            "path_filestat_set_times",
            &[3, 0, 200, 7, 1, 2, 5],
            "(3, 0, \"dir/new\", 1, 2, atim|mtim) = errno success",
        ),
        // Nowhere, past the end, longer than memory, around the address space.
        (
            "path_unlink_file",
            &[3, 0xffff_fff0, 5],
            "(3, 0xfffffff0) = errno success",
        ),
        (
            "path_unlink_file",
            &[3, 1020, 5],
            "(3, 0x3fc) = errno success",
        ),
        (
            "path_unlink_file",
            &[3, 100, 0xffff_ffff],
            "(3, 0x64) = errno success",
        ),
        (
            "path_unlink_file",
            &[3, u64::MAX, u64::MAX],
            "(3, 0xffffffffffffffff) = errno success",
        ),
        ("path_unlink_file", &[3, 0, 0], "(3, \"\") = errno success"),
    ] {
        let found = line(name, params, names, nothing, 0);
        assert_eq!(found, format!("wasi.{name}{expected}\n"));
    }
    let open = [3, 1, 200, 7, 0b1001, 0b110, 2, 1, 64];
    let after = |memory: &mut Memory| put32(memory, 64, &[5]);
    assert_eq!(
        line("path_open", &open, names, after, 0),
        "wasi.path_open(3, symlink_follow, \"dir/new\", creat|trunc, fd_read|fd_seek, fd_read, \
         append) = 5 (errno success)\n"
    );
    assert_eq!(
        line("path_open", &open, names, nothing, 44),
        "wasi.path_open(3, symlink_follow, \"dir/new\", creat|trunc, fd_read|fd_seek, fd_read, \
         append) = errno noent\n"
    );
    let stat = |memory: &mut Memory| put64(memory, 64, &[1, 2, 3, 1, 4096, 5, 6, 7]);
    assert_eq!(
        line("path_filestat_get", &[3, 0, 200, 3, 64], names, stat, 0),
        "wasi.path_filestat_get(3, 0, \"dir\") = {dev=1, ino=2, filetype=directory, nlink=1, \
         size=4096, atim=5, mtim=6, ctim=7} (errno success)\n"
    );
    // The link is shorter than the room for it.
    let link = |memory: &mut Memory| {
        put(memory, 300, b"target");
        put32(memory, 64, &[6]);
    };
    assert_eq!(
        line("path_readlink", &[3, 200, 7, 300, 100, 64], names, link, 0),
        "wasi.path_readlink(3, \"dir/new\", 100) = buf=\"target\", bufused=6 (errno success)\n"
    );
    let name = |memory: &mut Memory| put(memory, 300, b"/tmp");
    assert_eq!(
        line("fd_prestat_dir_name", &[3, 300, 4], nothing, name, 0),
        "wasi.fd_prestat_dir_name(3, 4) = \"/tmp\" (errno success)\n"
    );
}

/// Two buffers: 5 bytes at 100, 40 at 200, listed at 16.
fn buffers(memory: &mut Memory) {
    put32(memory, 16, &[100, 5, 200, 40]);
    put(memory, 100, b"hello");
    put(memory, 200, b" world, and more than what is shown of it");
}

#[test]
fn what_is_written() {
    let written = |memory: &mut Memory| put32(memory, 64, &[45]);
    assert_eq!(
        line("fd_write", &[1, 16, 2, 64], buffers, written, 0),
        "wasi.fd_write(1, [\"hello\", \" world, and more than what is sh\"...]) = 45 (errno \
         success)\n"
    );
    assert_eq!(
        line("fd_pwrite", &[4, 16, 1, 77, 64], buffers, written, 0),
        "wasi.fd_pwrite(4, [\"hello\"], 77) = 45 (errno success)\n"
    );
    assert_eq!(
        line("sock_send", &[4, 16, 1, 0, 64], buffers, nothing, 64),
        "wasi.sock_send(4, [\"hello\"], 0) = errno pipe\n"
    );
    assert_eq!(
        line("fd_write", &[1, 16, 0, 64], buffers, nothing, 28),
        "wasi.fd_write(1, []) = errno inval\n"
    );
    // The list leads nowhere; so does one of its buffers; so does the result.
    assert_eq!(
        line("fd_write", &[1, 1020, 1, 64], buffers, nothing, 21),
        "wasi.fd_write(1, 0x3fc) = errno fault\n"
    );
    let lost = |memory: &mut Memory| put32(memory, 16, &[2000, 5]);
    assert_eq!(
        line("fd_write", &[1, 16, 1, 64], lost, nothing, 21),
        "wasi.fd_write(1, [0x7d0]) = errno fault\n"
    );
    assert_eq!(
        line("fd_write", &[1, 16, 1, 2000], buffers, nothing, 0),
        "wasi.fd_write(1, [\"hello\"]) = 0x7d0 (errno success)\n"
    );
    // More buffers than are shown, and a list that is longer than memory.
    let many = |memory: &mut Memory| put32(memory, 16, &[300, 1].repeat(20));
    let shown = ["\"\\xaa\""; 16].join(", ");
    assert_eq!(
        line("fd_write", &[1, 16, 20, 0], many, nothing, 28),
        format!("wasi.fd_write(1, [{shown}, ...]) = errno inval\n")
    );
    assert_eq!(
        line("fd_write", &[1, 16, 0xffff_ffff, 0], many, nothing, 28),
        format!("wasi.fd_write(1, [{shown}, ...]) = errno inval\n")
    );
    // A character is not cut in two.
    let umlauts = |memory: &mut Memory| {
        put32(memory, 16, &[99, 41]);
        put(memory, 99, b"x");
        put(memory, 100, "\u{fc}".repeat(20).as_bytes());
    };
    assert_eq!(
        line("fd_write", &[1, 16, 1, 0], umlauts, nothing, 28),
        format!(
            "wasi.fd_write(1, [\"x{}\"...]) = errno inval\n",
            "\u{fc}".repeat(15)
        )
    );
}

#[test]
fn what_was_read() {
    let read = |count: u32| {
        move |memory: &mut Memory| {
            put(memory, 100, b"bytes");
            put(memory, 200, b"more\0");
            put32(memory, 64, &[count, 1]);
        }
    };
    assert_eq!(
        line("fd_read", &[3, 16, 2, 64], buffers, read(9), 0),
        "wasi.fd_read(3, [5, 40]) = iovs=[\"bytes\", \"more\"], nread=9 (errno success)\n"
    );
    assert_eq!(
        line("fd_read", &[0, 16, 2, 64], buffers, read(0), 0),
        "wasi.fd_read(0, [5, 40]) = iovs=[\"\", \"\"], nread=0 (errno success)\n"
    );
    assert_eq!(
        line("fd_read", &[0, 16, 2, 64], buffers, read(9), 8),
        "wasi.fd_read(0, [5, 40]) = errno badf\n"
    );
    assert_eq!(
        line("fd_pread", &[3, 16, 1, 1 << 33, 64], buffers, read(3), 0),
        "wasi.fd_pread(3, [5], 8589934592) = iovs=[\"byt\"], nread=3 (errno success)\n"
    );
    assert_eq!(
        line("sock_recv", &[3, 16, 1, 1, 64, 68], buffers, read(2), 0),
        "wasi.sock_recv(3, [5], recv_peek) = ri_data=[\"by\"], ro_datalen=2, \
         ro_flags=recv_data_truncated (errno success)\n"
    );
    let random =
        |memory: &mut Memory| put(memory, 300, &[0, 1, 0x7f, 0xff, b'a', b'"', 0xc3, 0x28]);
    assert_eq!(
        line("random_get", &[300, 8], nothing, random, 0),
        "wasi.random_get(8) = \"\\x00\\x01\\x7f\\xffa\\\"\\xc3(\" (errno success)\n"
    );
    assert_eq!(
        line("random_get", &[300, 100], nothing, |_| (), 0),
        format!(
            "wasi.random_get(100) = \"{}\"... (errno success)\n",
            "\\xaa".repeat(32)
        )
    );
    assert_eq!(
        line("random_get", &[1000, 100], nothing, |_| (), 0),
        "wasi.random_get(100) = 0x3e8 (errno success)\n"
    );
}

#[test]
fn directories() {
    let entries = |memory: &mut Memory| {
        put64(memory, 300, &[1, 11]);
        put32(memory, 316, &[3, 4]);
        put(memory, 324, b"abc");
        put64(memory, 327, &[2, 12]);
        put32(memory, 343, &[200, 3]);
        put(memory, 351, b"cut off");
        put32(memory, 64, &[58]);
    };
    assert_eq!(
        line("fd_readdir", &[3, 300, 58, 0, 64], nothing, entries, 0),
        "wasi.fd_readdir(3, 58, 0) = buf=[{d_next=1, d_ino=11, d_namlen=3, d_type=regular_file, \
         name=\"abc\"}, {d_next=2, d_ino=12, d_namlen=200, d_type=directory, name=\"cut \
         off\"...}], bufused=58 (errno success)\n"
    );
    let none = |memory: &mut Memory| put32(memory, 64, &[0]);
    assert_eq!(
        line("fd_readdir", &[3, 300, 58, 9, 64], nothing, none, 0),
        "wasi.fd_readdir(3, 58, 9) = buf=[], bufused=0 (errno success)\n"
    );
}

#[test]
fn arguments_and_environment() {
    let strings = |memory: &mut Memory| {
        put(memory, 300, b"app\0-v\0\0after");
        put32(memory, 64, &[300, 304, 307, 0]);
    };
    assert_eq!(
        line("args_get", &[64, 300], nothing, strings, 0),
        "wasi.args_get() = [\"app\", \"-v\", \"\"] (errno success)\n"
    );
    // No strings at all.
    assert_eq!(
        line("environ_get", &[64, 300], nothing, nothing, 0),
        "wasi.environ_get() = [] (errno success)\n"
    );
    // Text that does not end before memory does.
    let endless = |memory: &mut Memory| put32(memory, 64, &[1000, 0]);
    assert_eq!(
        line("environ_get", &[64, 1000], nothing, endless, 0),
        "wasi.environ_get() = [] (errno success)\n"
    );
    assert_eq!(
        line("environ_get", &[2000, 300], nothing, nothing, 0),
        "wasi.environ_get() = 0x7d0 (errno success)\n"
    );
}

#[test]
fn polls() {
    let subscriptions = |memory: &mut Memory| {
        put(memory, 64, &[0; 144]);
        // A clock, relative.
        put64(memory, 64, &[7, 0, 1, 5_000_000, 100, 0]);
        // A file descriptor to read from, one to write to.
        put64(memory, 112, &[8, 1, 3, 0, 0, 0]);
        put64(memory, 160, &[9, 2, 1, 0, 0, 0]);
    };
    let events = |memory: &mut Memory| {
        put(memory, 400, &[0; 64]);
        put64(memory, 400, &[7, 0, 0, 0]);
        put64(memory, 432, &[8, 8 | 1 << 16, 12, 1]);
        put32(memory, 600, &[2]);
    };
    assert_eq!(
        line("poll_oneoff", &[64, 400, 3, 600], subscriptions, events, 0),
        "wasi.poll_oneoff([{userdata=7, u={clock={id=monotonic, timeout=5000000, precision=100, \
         flags=0}}}, {userdata=8, u={fd_read={file_descriptor=3}}}, {userdata=9, \
         u={fd_write={file_descriptor=1}}}], 3) = out=[{userdata=7, error=success, type=clock, \
         fd_readwrite={nbytes=0, flags=0}}, {userdata=8, error=badf, type=fd_read, \
         fd_readwrite={nbytes=12, flags=fd_readwrite_hangup}}], nevents=2 (errno success)\n"
    );
    // A tag that is none.
    let odd = |memory: &mut Memory| put64(memory, 64, &[7, 9, 0, 0, 0, 0]);
    assert_eq!(
        line("poll_oneoff", &[64, 400, 1, 600], odd, nothing, 28),
        "wasi.poll_oneoff([{userdata=7, u=9}], 1) = errno inval\n"
    );
}

#[test]
fn the_snapshot_before_preview_1_differs_in_places() {
    let unstable = |name: &str, params: &[u64], words: &'static [u64]| {
        let fill = |memory: &mut Memory| put64(memory, 64, words);
        line_in("wasi_unstable", name, params, fill, |_| (), 0)
    };
    assert_eq!(
        unstable("fd_seek", &[3, 5, 2, 64], &[95]),
        "wasi.fd_seek(3, 5, set) = 95 (errno success)\n"
    );
    assert_eq!(
        unstable("fd_tell", &[3, 64], &[95]),
        "wasi.fd_tell(3) = 95 (errno success)\n"
    );
    assert_eq!(
        unstable(
            "fd_filestat_get",
            &[3, 64],
            &[1, 2, 1 << 32 | 4, 1234, 5, 6, 7]
        ),
        "wasi.fd_filestat_get(3) = {dev=1, ino=2, filetype=regular_file, nlink=1, size=1234, \
         atim=5, mtim=6, ctim=7} (errno success)\n"
    );
    assert_eq!(
        unstable("poll_oneoff", &[64, 400, 1, 64], &[1, 0, 7, 1, 5, 6, 0]),
        "wasi.poll_oneoff([{userdata=1, u={clock={identifier=7, id=monotonic, timeout=5, \
         precision=6, flags=0}}}], 1) = out=[{userdata=12297829382473034410, error=43690, \
         type=170, fd_readwrite={nbytes=12297829382473034410, flags=0xaaaa}}], nevents=1 (errno \
         success)\n"
    );
    assert!(Function::find("wasi_unstable", "sock_accept").is_none());
}

#[test]
fn an_exit_has_its_status() {
    let definition = Definition::import(FuncIndex(0), "wasi_snapshot_preview1", "proc_exit")
        .typed([ValueType::I32], []);
    let bytes = Bytes::default();
    let tracer = Tracer::builder().write_to(bytes.clone());
    let mut guest = Guest::new([definition], &tracer);
    let ended = guest.call(FuncIndex(0), &[Value::I32(7)], |_| Err(Cause::Exit(7)));
    assert!(ended.is_err());
    tracer.finish().unwrap();
    assert_eq!(bytes.text(), "wasi.proc_exit(7) ! exit 7\n");
}

#[test]
fn functions_that_only_have_the_name_are_shown_as_they_are() {
    for (definition, expected) in [
        // Not WASI's module.
        (
            Definition::import(FuncIndex(0), "env", "fd_close").typed([ValueType::I32], []),
            "env.fd_close(3) = ()\n",
        ),
        // Not WASI's type.
        (
            Definition::import(FuncIndex(0), "wasi_snapshot_preview1", "fd_sync")
                .typed([ValueType::I32; 2], []),
            "wasi.fd_sync(3, 4) = ()\n",
        ),
        // Not WASI's function.
        (
            Definition::import(FuncIndex(0), "wasi_snapshot_preview1", "fd_dup")
                .typed([ValueType::I32], []),
            "wasi.fd_dup(3) = ()\n",
        ),
    ] {
        let bytes = Bytes::default();
        let tracer = Tracer::builder().write_to(bytes.clone());
        let mut guest = Guest::new([definition.clone()], &tracer);
        let params = &[Value::I32(3), Value::I32(4)][..definition.params.len()];
        let ended = guest.call(FuncIndex(0), params, |_| Ok(vec![]));
        assert!(ended.is_ok());
        tracer.finish().unwrap();
        assert_eq!(bytes.text(), expected);
    }
}
