//! Every cause reaches the listener as it was given.

use wasmscope_listen::fake::Guest;
use wasmscope_listen::{Cause, Definition, FuncIndex};

use crate::tape::Tape;

#[test]
fn each_cause_is_heard_and_reads_well() {
    let causes = [
        (
            Cause::Trap(&std::fmt::Error),
            "trap: an error occurred when formatting an argument",
        ),
        (Cause::StackOverflow, "stack overflow"),
        (
            Cause::HostError(&std::fmt::Error),
            "error: an error occurred when formatting an argument",
        ),
        (Cause::Exception, "exception"),
        (Cause::Exit(3), "exit 3"),
        (Cause::Panic, "panic"),
        (Cause::FutureDropped, "future dropped"),
        (Cause::StoreDropped, "store dropped"),
        (Cause::Unknown, "unknown"),
    ];
    for (cause, text) in causes {
        let tape = Tape::default();
        let f = Definition::guest(FuncIndex(0)).named("f");
        let ended = Guest::new([f], &tape).call(FuncIndex(0), &[], |_| Err(cause));
        assert!(ended.is_err());
        assert_eq!(
            tape.lines(),
            ["0 before f[]".to_owned(), format!("0 abort f[] {text}")]
        );
    }
}
