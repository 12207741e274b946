//! A profile with at least one of everything: inlined functions, labels, hostile
//! names, two threads in two processes, markers, counters, samples of several counts
//! and weights, samples without a stack, recursion, all categories.

use std::time::{Duration, UNIX_EPOCH};

use wasmscope_profile::*;

/// Names that a format could trip over.
pub(crate) const HOSTILE: &[&str] = &[
    "semi;colon",
    "<script>alert(\"1\")</script>]]>&'",
    "line\r\nbreak\ttab",
    "percent%3B%25 100%",
    "trailing 17 ",
    "日本語::λ<[u8; 32]>",
    "nul\0and\u{1b}[31m",
    "quote\"back\\slash",
];

pub(crate) fn meta() -> Meta {
    Meta {
        product: "app \"é\" <b>.wasm".to_owned(),
        start: UNIX_EPOCH + Duration::new(1_700_000_000, 250_000_000),
        duration: Duration::from_millis(100),
        interval: Duration::from_millis(1),
        clock: Clock::Wall,
        mechanism: "perf_event task-clock".to_owned(),
        comments: vec!["a comment with \"quotes\" & <tags>".to_owned()],
    }
}

/// A profile with threads, but without any sample, marker or counter.
pub(crate) fn empty() -> Profile {
    let mut profile = Profile::new(meta());
    profile.add_thread(Thread {
        id: 1,
        name: "idle".to_owned(),
        ..Thread::default()
    });
    profile
}

struct Builder {
    profile: Profile,
    app: MappingHandle,
    host: MappingHandle,
    plugin: MappingHandle,
}

impl Builder {
    fn guest(&mut self, name: &str, file: Option<&str>, start_line: Option<u32>) -> FunctionHandle {
        self.profile.add_function(Function {
            name: name.to_owned(),
            system_name: name.contains("::").then(|| format!("_ZN{}E", name.len())),
            file: file.map(str::to_owned),
            start_line,
            category: Category::Guest,
            mapping: Some(self.app),
        })
    }

    fn other(
        &mut self,
        name: &str,
        category: Category,
        mapping: Option<MappingHandle>,
    ) -> FunctionHandle {
        self.profile.add_function(Function {
            name: name.to_owned(),
            category,
            mapping,
            ..Function::default()
        })
    }

    /// A location with one line.
    fn at(
        &mut self,
        function: FunctionHandle,
        address: u64,
        line: u32,
        column: u32,
    ) -> LocationHandle {
        self.inlined(address, &[(function, line, column)])
    }

    /// A location in the application, innermost function first.
    fn inlined(&mut self, address: u64, lines: &[(FunctionHandle, u32, u32)]) -> LocationHandle {
        self.profile.add_location(Location {
            mapping: Some(self.app),
            address: Some(address),
            lines: lines
                .iter()
                .map(|&(function, line, column)| Line {
                    function,
                    line: Some(line),
                    column: (column > 0).then_some(column),
                })
                .collect(),
        })
    }

    /// A location without lines, in a binary or in none.
    fn bare(
        &mut self,
        function: FunctionHandle,
        mapping: Option<MappingHandle>,
        address: Option<u64>,
    ) -> LocationHandle {
        self.profile.add_location(Location {
            mapping,
            address,
            lines: vec![Line {
                function,
                line: None,
                column: None,
            }],
        })
    }

    fn stack(&mut self, locations: &[LocationHandle]) -> StackHandle {
        let mut stack = None;
        for location in locations {
            stack = Some(self.profile.add_stack(stack, *location));
        }
        stack.unwrap()
    }
}

/// The whole fixture.
pub(crate) fn profile() -> Profile {
    let mut profile = Profile::new(meta());
    let app = profile.add_mapping(Mapping {
        name: "app.wasm".to_owned(),
        file: Some("/guests/app.wasm".to_owned()),
        build_id: Some((0..20).collect()),
        size: 0x5000,
        kind: MappingKind::Guest,
    });
    let host = profile.add_mapping(Mapping {
        name: "host".to_owned(),
        file: None,
        build_id: None,
        size: 0x12_3456,
        kind: MappingKind::Host,
    });
    let plugin = profile.add_mapping(Mapping {
        name: "plugin".to_owned(),
        file: None,
        build_id: None,
        size: 0x200,
        kind: MappingKind::Guest,
    });
    let mut b = Builder {
        profile,
        app,
        host,
        plugin,
    };

    let main = b.guest("main", Some("src/main.rs"), Some(1));
    let render = b.guest("app::render", Some("src/render.rs"), Some(10));
    let blit = b.guest("app::blit", Some("src/blit.rs"), Some(20));
    let fib = b.guest("fib", Some("src/fib.c"), Some(5));
    let entry = b.other("run_guest", Category::Host, Some(b.host));
    let trampoline = b.other("array-to-wasm trampoline", Category::Engine, Some(b.host));
    let write = b.other("wasi_snapshot_preview1.fd_write", Category::Wasi, None);
    let hidden = b.other("[host]", Category::Opaque, None);
    let lost = b.other("[lost]", Category::Lost, None);
    let wasm_7 = b.other("plugin!wasm-function[7]", Category::Guest, Some(b.plugin));

    let at_entry = b.bare(entry, Some(b.host), Some(0x1000));
    let at_trampoline = b.bare(trampoline, Some(b.host), Some(0x2000));
    let at_main = b.at(main, 0x100, 3, 5);
    let at_render = b.at(render, 0x210, 12, 0);
    // `blit` inlined into `render`, inlined into `main`.
    let at_inlined = b.inlined(0x140, &[(blit, 22, 7), (render, 14, 9), (main, 4, 1)]);
    let at_fib = b.at(fib, 0x320, 6, 14);
    let at_fib_end = b.at(fib, 0x350, 8, 3);
    let at_write = b.bare(write, None, None);
    let at_hidden = b.bare(hidden, None, None);
    let at_lost = b.bare(lost, None, None);
    let at_plugin = b.bare(wasm_7, Some(b.plugin), Some(0x77));

    let base = [at_entry, at_trampoline, at_main];
    let in_render = b.stack(&[&base[..], &[at_render]].concat());
    let in_inlined = b.stack(&[&base[..2], &[at_inlined]].concat());
    let in_write = b.stack(&[&base[..], &[at_render, at_write]].concat());
    let in_fib = b.stack(&[&base[..], &[at_fib, at_fib, at_fib, at_fib_end]].concat());
    let in_plugin = b.stack(&[at_hidden, at_plugin]);
    let in_lost = b.stack(&[at_lost]);
    let mut hostile = Vec::new();
    for (index, name) in (0..).zip(HOSTILE) {
        let function = b.guest(name, Some(&format!("dir/{name}.c")), Some(1 + index));
        let location = b.at(function, 0x1000 + 16 * u64::from(index), 2 + index, 0);
        hostile.push(b.stack(&[at_main, location]));
    }

    let mut profile = b.profile;
    let first = profile.add_thread(Thread {
        id: 4711,
        name: "worker <1>".to_owned(),
        process: String::new(),
        start: Duration::ZERO,
        end: Some(Duration::from_millis(90)),
        accounting: Some(Accounting {
            due: 40,
            kept: 37,
            lost: 3,
            sampled: Duration::from_millis(40),
        }),
    });
    let second = profile.add_thread(Thread {
        id: 4712,
        name: "worker <2>".to_owned(),
        process: "second \"process\"".to_owned(),
        start: Duration::from_millis(5),
        end: None,
        accounting: None,
    });
    let tenant = profile.add_labels(&[
        ("tenant", Value::Text("blue & \"co\"".to_owned())),
        ("request", Value::Number(42, None)),
        ("size", Value::Number(-3, Some("bytes".to_owned()))),
    ]);

    let mut time = Duration::ZERO;
    let mut add = |thread, stack, count: u64, micros, cpu: Option<u64>, labels| {
        let weight = Duration::from_micros(micros);
        time += weight;
        profile.add_sample(Sample {
            thread,
            time,
            stack,
            count,
            weight,
            cpu: cpu.map(Duration::from_nanos),
            labels,
        });
    };
    let none = LabelsHandle::EMPTY;
    add(first, Some(in_render), 1, 1000, Some(999_500), none);
    add(first, Some(in_inlined), 1, 1000, Some(1_000_500), none);
    add(first, Some(in_inlined), 5, 5000, None, tenant);
    add(first, Some(in_write), 1, 1500, Some(1), tenant);
    add(first, Some(in_fib), 3, 3000, Some(3_000_000), none);
    add(first, None, 1, 250, Some(0), none);
    add(first, Some(in_lost), 3, 3000, None, none);
    add(second, Some(in_plugin), 7, 7000, None, tenant);
    add(second, Some(in_render), 1, 1001, None, none);
    for stack in hostile {
        add(second, Some(stack), 1, 1000, None, none);
    }
    // Earlier than those before it, and the same stack again.
    profile.add_sample(Sample {
        thread: first,
        time: Duration::from_micros(1500),
        stack: Some(in_render),
        count: 1,
        weight: Duration::from_micros(500),
        cpu: Some(Duration::ZERO),
        labels: none,
    });

    let millis = Duration::from_millis;
    for (name, start, end, text) in [
        ("wasi_snapshot_preview1.fd_write", 2, 4, Some("fd=1 <out>")),
        ("wasi_snapshot_preview1.fd_write", 7, 8, None),
    ] {
        profile.add_marker(Marker {
            thread: first,
            name: name.to_owned(),
            category: Category::Wasi,
            start: millis(start),
            end: millis(end),
            stack: Some(in_write),
            text: text.map(str::to_owned),
        });
    }
    profile.add_marker(Marker {
        thread: second,
        name: HOSTILE[1].to_owned(),
        category: Category::Host,
        start: millis(30),
        end: millis(30),
        stack: None,
        text: Some(HOSTILE[2].to_owned()),
    });
    profile.add_counter(Counter {
        name: "app.wasm memory".to_owned(),
        category: "Memory".to_owned(),
        unit: "bytes".to_owned(),
        description: "Size of the guest's linear memory".to_owned(),
        thread: Some(first),
        points: vec![
            (millis(0), 0x10000),
            (millis(10), 0x40000),
            (millis(20), 0x20000),
        ],
    });
    profile
}
