//! Scopes by name, and what is in each.

use wasmscope_listen::listeners::{Scopes, UnknownScope};
use wasmscope_listen::{Definition, FuncIndex};

#[test]
fn every_function_of_wasi_is_in_the_scope_that_it_is_for() {
    let wasi = [
        (Scopes::CLOCK, "clock_res_get clock_time_get"),
        (Scopes::EXIT, "proc_exit"),
        (
            Scopes::FILESYSTEM,
            "fd_advise fd_allocate fd_close fd_datasync fd_fdstat_get fd_fdstat_set_flags \
             fd_fdstat_set_rights fd_filestat_get fd_filestat_set_size fd_filestat_set_times \
             fd_pread fd_prestat_get fd_prestat_dir_name fd_pwrite fd_read fd_readdir \
             fd_renumber fd_seek fd_sync fd_tell fd_write path_create_directory \
             path_filestat_get path_filestat_set_times path_link path_open path_readlink \
             path_remove_directory path_rename path_symlink path_unlink_file",
        ),
        (Scopes::MEMORY, ""),
        (Scopes::POLL, "poll_oneoff"),
        (
            Scopes::PROC,
            "args_get args_sizes_get environ_get environ_sizes_get proc_exit proc_raise \
             sched_yield",
        ),
        (Scopes::RANDOM, "random_get"),
        (
            Scopes::SOCK,
            "sock_accept sock_recv sock_send sock_shutdown",
        ),
    ];
    for (_, names) in wasi {
        for name in names.split_whitespace() {
            let function = Definition::import(FuncIndex(0), "wasi_snapshot_preview1", name);
            for (scope, names) in wasi {
                let inside = names.split_whitespace().any(|other| other == name);
                assert_eq!(scope.contain(&function), inside, "{name} in {scope}");
            }
            assert!(Scopes::ALL.contain(&function));
            assert!(!Scopes::NONE.contain(&function));
        }
    }
}

#[test]
fn runtimes_have_functions_in_scopes_and_unknown_ones_are_only_in_all() {
    let env = |name| Definition::import(FuncIndex(0), "env", name);
    assert!(Scopes::MEMORY.contain(&env("emscripten_notify_memory_growth")));
    assert!(Scopes::EXIT.contain(&env("abort")));
    assert!(Scopes::RANDOM.contain(&env("seed")));
    // The name alone does not make it WASI's.
    for unknown in [
        env("random_get"),
        Definition::guest(FuncIndex(0)).named("random_get"),
    ] {
        assert!(!Scopes::RANDOM.contain(&unknown));
        assert!(Scopes::ALL.contain(&unknown));
    }
}

#[test]
fn sets_of_scopes_are_read_and_written_by_name() {
    let some = Scopes::CLOCK | Scopes::SOCK;
    assert_eq!(some.to_string(), "clock|sock");
    assert_eq!("sock, clock".parse(), Ok(some));
    assert_eq!("clock|sock".parse(), Ok(some));
    assert_eq!("none".parse(), Ok(Scopes::NONE));
    assert_eq!("clock,all".parse(), Ok(Scopes::ALL));
    assert_eq!(Scopes::ALL.to_string(), "all");
    assert_eq!(
        "clock,disk".parse::<Scopes>(),
        Err(UnknownScope("disk".into()))
    );
    assert!("".parse::<Scopes>().is_err());
}
