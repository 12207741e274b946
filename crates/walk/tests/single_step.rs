//! Proves the walk exact: guests are single-stepped, and before **every**
//! instruction of guest code the walk must equal a shadow stack that the test keeps
//! by itself, from the calls, returns, jumps and handler transfers it decodes.
//!
//! Each file under `tests/guests` is a case; see there for what a file says of
//! itself. Each is compiled by Cranelift without and with optimisation and by
//! Winch. The same harness with a walker that knows no windows must find wrong
//! stacks, or it would prove nothing.
#![cfg(all(target_arch = "x86_64", target_os = "linux"))]
#![expect(clippy::print_stdout, reason = "a reader wants to see the counts")]

#[path = "single_step/guest.rs"]
mod guest;
#[path = "single_step/shadow.rs"]
mod shadow;
#[path = "single_step/stepper.rs"]
mod stepper;

use guest::{Compiler, Guest};
use stepper::{Counts, Walker};

/// Steps every guest under every compiler that takes it.
fn step_all(walker: Walker) -> Counts {
    let only = std::env::var("WASMSCOPE_GUEST").ok();
    let mut total = Counts::default();
    let mut cases = 0;
    for guest in Guest::all() {
        if only.as_ref().is_some_and(|only| *only != guest.name) {
            continue;
        }
        for compiler in Compiler::ALL {
            let Some(counts) = guest.step(compiler, walker) else {
                continue;
            };
            println!("{:>14} {compiler:?} {walker:?}: {counts}", guest.name);
            assert!(counts.steps > 0, "{} ran nothing", guest.name);
            assert_eq!(counts.shadow_errors, 0, "the shadow stack itself is wrong");
            total.add(&counts);
            cases += 1;
        }
    }
    println!("{cases} cases, {walker:?}: {total}");
    assert!(cases > 0, "no such guest");
    total
}

#[test]
fn the_walk_is_exact_at_every_instruction() {
    let counts = step_all(Walker::WithWindows);
    assert_eq!(counts.wrong, 0);
    assert_eq!(counts.wrong_through_host, 0);
    assert!(counts.through_host > 0);
}

#[test]
fn a_walk_without_windows_is_not() {
    let counts = step_all(Walker::WithoutWindows);
    assert!(
        counts.wrong * 100 > counts.steps,
        "at least one stack in a hundred should have been wrong"
    );
}
