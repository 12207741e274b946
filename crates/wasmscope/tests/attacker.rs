//! A tenant that searches its own profile, byte by byte, finds nothing of its
//! neighbour nor of the host; and the search can find, as a profile without
//! restrictions shows.

#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]
#![expect(unsafe_code, reason = "asks the C library for the machine's name")]

#[path = "support/patience.rs"]
mod patience;

use patience::Patience;
use std::collections::BTreeSet;
use std::io::Read;
use std::ops::Range;
use std::time::Duration;
use wasmscope::{Format, Guest, HostFrames, Labels, Profile, Profiler, Rate, Selection};
use wasmtime::{Engine, Linker, Module, Store};

/// Something that must not be found, and what it is.
struct Needle {
    what: &'static str,
    bytes: Vec<u8>,
}

/// Everything to look for.
struct Search {
    needles: Vec<Needle>,
    /// Addresses of this process: its code, the guests' code, its stacks and heap.
    addresses: Vec<Range<u64>>,
    /// The kernel's numbers of this process and of the sampled threads.
    numbers: Vec<u64>,
}

impl Search {
    /// Returns what of it is in some bytes of a format.
    fn find(&self, format: Format, bytes: &[u8]) -> BTreeSet<&'static str> {
        let mut found = BTreeSet::new();
        for needle in &self.needles {
            if memmem(bytes, &needle.bytes) {
                found.insert(needle.what);
            }
        }
        let is_address = |value: u64| self.addresses.iter().any(|range| range.contains(&value));
        for at in 0..bytes.len() {
            let rest = &bytes[at..];
            if let Some(word) = rest.first_chunk::<8>()
                && (is_address(u64::from_le_bytes(*word)) || is_address(u64::from_be_bytes(*word)))
            {
                found.insert("address, as eight bytes");
            }
            if varint(rest).is_some_and(is_address) {
                found.insert("address, as a varint");
            }
            let begins = |is_digit: fn(&u8) -> bool| {
                (at == 0 || !is_digit(&bytes[at - 1]))
                    .then(|| rest.iter().take_while(|byte| is_digit(byte)).count())
                    .and_then(|len| std::str::from_utf8(&rest[..len]).ok())
                    .filter(|digits| digits.len() >= 8)
            };
            if begins(u8::is_ascii_digit)
                .and_then(|digits| digits.parse().ok())
                .is_some_and(is_address)
            {
                found.insert("address, in decimal");
            }
            if begins(u8::is_ascii_hexdigit)
                .and_then(|digits| u64::from_str_radix(digits, 16).ok())
                .is_some_and(is_address)
            {
                found.insert("address, in hexadecimal");
            }
        }
        // Short numbers occur by chance: only where a number would identify something.
        if format == Format::Firefox {
            let json: serde_json::Value = serde_json::from_slice(bytes).expect("is JSON");
            if self.has_number(&json) {
                found.insert("process or thread number");
            }
        }
        found
    }

    fn has_number(&self, json: &serde_json::Value) -> bool {
        match json {
            serde_json::Value::Object(fields) => fields.iter().any(|(key, value)| {
                let text = value.to_string();
                let number = text.trim_matches('"').split('.').next().unwrap_or_default();
                let identifies = matches!(key.as_str(), "pid" | "tid" | "processId" | "threadId");
                identifies
                    && number
                        .parse()
                        .is_ok_and(|number| self.numbers.contains(&number))
                    || self.has_number(value)
            }),
            serde_json::Value::Array(values) => values.iter().any(|value| self.has_number(value)),
            _ => false,
        }
    }
}

fn memmem(haystack: &[u8], needle: &[u8]) -> bool {
    haystack
        .windows(needle.len())
        .any(|window| window.eq_ignore_ascii_case(needle))
}

/// Reads one number as Protocol Buffers write it.
fn varint(bytes: &[u8]) -> Option<u64> {
    let mut value = 0u64;
    for (index, byte) in bytes.iter().take(10).enumerate() {
        value |= u64::from(byte & 0x7f).checked_shl(7 * index as u32)?;
        if byte & 0x80 == 0 {
            return (index >= 4).then_some(value);
        }
    }
    None
}

/// Where this process has code, stacks and heap. Memory of guests, of which gigabytes
/// of addresses are reserved, is left out.
fn addresses() -> Vec<Range<u64>> {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    maps.lines()
        .filter_map(|line| {
            let (range, rest) = line.split_once(' ')?;
            let (start, end) = range.split_once('-')?;
            let start = u64::from_str_radix(start, 16).ok()?;
            let end = u64::from_str_radix(end, 16).ok()?;
            let wanted = rest.contains('x')
                || rest.ends_with("[stack]")
                || rest.ends_with("[heap]")
                || (rest.starts_with("rw") && end - start <= 16 << 20);
            wanted.then_some(start..end)
        })
        .collect()
}

fn host_name() -> String {
    let mut name = vec![0u8; 256];
    // SAFETY: the buffer is as long as is said, and ends in a zero whatever happens.
    unsafe { libc::gethostname(name.as_mut_ptr().cast(), 255) };
    let end = name.iter().position(|byte| *byte == 0).unwrap();
    String::from_utf8(name[..end].to_vec()).unwrap()
}

/// Writes a profile in a format, without compression.
fn written(profile: &Profile, format: Format) -> Vec<u8> {
    let mut bytes = Vec::new();
    profile.write(format, false, &mut bytes).unwrap();
    // Whoever compresses all the same is looked through.
    if bytes.starts_with(&[0x1f, 0x8b]) {
        let mut plain = Vec::new();
        flate2::read::MultiGzDecoder::new(&bytes[..])
            .read_to_end(&mut plain)
            .unwrap();
        bytes = plain;
    }
    bytes
}

/// The host's own function, by a name that no guest knows.
#[inline(never)]
fn secret_host_machinery(x: i32) -> i32 {
    (0..20_000).fold(x, |x, y| std::hint::black_box(x ^ y))
}

const RED: &str = r#"(module $red_module
    (import "host" "work" (func $work (param i32) (result i32)))
    (func $red_outer (export "run") (param i32)
      (loop $again
        (drop (call $work (call $red_inner (local.get 0))))
        (br_if $again (local.tee 0 (i32.sub (local.get 0) (i32.const 1))))))
    (func $red_inner (param i32) (result i32) (local $i i32)
      (local.set $i (i32.const 20000))
      (loop (br_if 0 (local.tee $i (i32.sub (local.get $i) (i32.const 1)))))
      (local.get 0)))"#;

/// The tenants, and whose guest each has.
const TENANTS: [(&str, &str); 2] = [
    ("tenant-red", "red-plugin.wasm"),
    ("tenant-blue", "blue-plugin.wasm"),
];

#[test]
fn a_tenant_s_profile_tells_nothing_of_others_nor_of_the_host() {
    let engine = Engine::default();
    let red_bytes = wat::parse_str(RED).unwrap();
    let red = Module::new(&engine, &red_bytes).unwrap();
    // In C, with DWARF: names, source paths and lines of its own.
    let blue_path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../guests/reactor.wasm");
    let blue_bytes = std::fs::read(blue_path).unwrap();
    let blue = Module::new(&engine, &blue_bytes).unwrap();

    let profiler = Profiler::builder()
        .product("plug-ins")
        .rate(Rate::hertz(5000).unwrap())
        .host_frames(HostFrames::Keep)
        .start()
        .unwrap();
    let _red = profiler
        .register(Guest::module("red-plugin.wasm", &red).bytes(red_bytes))
        .unwrap();
    let _blue = profiler
        .register(Guest::module("blue-plugin.wasm", &blue).bytes(blue_bytes))
        .unwrap();

    let sampled = || {
        let _thread = profiler.attach_thread().unwrap();
        let mut linker = Linker::new(&engine);
        linker
            .func_wrap("host", "work", secret_host_machinery)
            .unwrap();
        let mut red_store = Store::new(&engine, ());
        let run = linker
            .instantiate(&mut red_store, &red)
            .unwrap()
            .get_typed_func::<i32, ()>(&mut red_store, "run")
            .unwrap();
        let mut blue_store = Store::new(&engine, ());
        let churn = linker
            .instantiate(&mut blue_store, &blue)
            .unwrap()
            .get_typed_func::<i32, i32>(&mut blue_store, "fib")
            .unwrap();
        let red_labels = Labels::new().with("tenant", "tenant-red");
        let blue_labels = Labels::new()
            .with("tenant", "tenant-blue")
            .with("request", "blue-request-4711");
        let is_enough = || {
            let recording = profiler.snapshot();
            TENANTS.iter().all(|(tenant, guest)| {
                let selection = Selection::everything().labelled("tenant", *tenant);
                let profile = recording.select(&selection.only_guests([*guest]));
                profile.total().count > 20
            })
        };
        let patience = Patience::for_what("samples enough of both tenants");
        let mut rounds = 0;
        while rounds < 40 || !is_enough() {
            patience.check();
            rounds += 1;
            red_labels.scope(|| run.call(&mut red_store, 100)).unwrap();
            blue_labels
                .scope(|| churn.call(&mut blue_store, 24))
                .unwrap();
            std::thread::sleep(Duration::from_millis(1));
        }
    };
    let (addresses, recording) = std::thread::scope(|scope| {
        std::thread::Builder::new()
            .name("secret-worker".to_owned())
            .spawn_scoped(scope, || {
                sampled();
                // While the stack of the sampled thread is mapped.
                addresses()
            })
            .map(|thread| thread.join().unwrap())
            .map(|addresses| (addresses, profiler.take()))
            .unwrap()
    });
    let everything = recording.profile();

    let exe = std::env::current_exe().unwrap();
    let cwd = std::env::current_dir().unwrap();
    let manifest = env!("CARGO_MANIFEST_DIR");
    let mut of_host: Vec<(&'static str, String)> = vec![
        ("host function", "secret_host_machinery".to_owned()),
        ("host crate", "attacker".to_owned()),
        ("host library", "wasmtime::".to_owned()),
        ("thread name", "secret-worker".to_owned()),
        ("executable", exe.display().to_string()),
        ("working directory", cwd.display().to_string()),
        ("source directory", manifest.to_owned()),
        ("mechanism", "timer_create".to_owned()),
    ];
    // Too short a name occurs by chance.
    if host_name().len() >= 6 {
        of_host.push(("machine", host_name()));
    }
    let of_red: [(&'static str, &str); 4] = [
        ("other's function", "red_inner"),
        ("other's module", "red-plugin"),
        ("other's tenant", "tenant-red"),
        ("other's import", "host::work"),
    ];
    let of_blue: [(&'static str, &str); 4] = [
        ("other's function", "fib"),
        ("other's source path", "reactor.c"),
        ("other's module", "blue-plugin"),
        ("other's request", "blue-request-4711"),
    ];
    let numbers: Vec<u64> = everything
        .threads()
        .map(|(_, thread)| thread.id)
        .chain([u64::from(std::process::id())])
        .collect();
    let search = |of_other: &[(&'static str, &str)]| Search {
        needles: of_host
            .iter()
            .map(|(what, text)| (*what, text.as_str()))
            .chain(of_other.iter().copied())
            .map(|(what, text)| Needle {
                what,
                bytes: text.as_bytes().to_vec(),
            })
            .collect(),
        addresses: addresses.clone(),
        numbers: numbers.clone(),
    };

    // The control: all of it is in the profile without restrictions.
    let mut found = BTreeSet::new();
    for of_other in [&of_red, &of_blue] {
        for format in Format::ALL {
            found.extend(search(of_other).find(format, &written(&everything, format)));
        }
    }
    for what in [
        "host function",
        "host crate",
        "host library",
        "thread name",
        "mechanism",
        "process or thread number",
        "address, as a varint",
        "other's function",
        "other's module",
        "other's tenant",
        "other's import",
        "other's source path",
        "other's request",
    ] {
        assert!(
            found.contains(what),
            "the search cannot find {what}: {found:?}"
        );
    }

    // The proof.
    for (tenant, guest, of_other, own) in [
        ("tenant-red", "red-plugin.wasm", &of_blue, "red_inner"),
        ("tenant-blue", "blue-plugin.wasm", &of_red, "fib"),
    ] {
        let selection = Selection::everything()
            .labelled("tenant", tenant)
            .only_guests([guest])
            .guest_safe();
        let profile = recording.select(&selection);
        assert!(profile.total().count > 20, "{:?}", profile.total());
        for format in Format::ALL {
            let bytes = written(&profile, format);
            assert!(memmem(&bytes, own.as_bytes()), "{tenant} sees itself");
            let found = search(of_other).find(format, &bytes);
            assert!(found.is_empty(), "{tenant}, {format:?}: {found:?}");
        }
        // Nor how much the others did: what is counted is this tenant's.
        let accounting = profile.accounting().unwrap();
        assert_eq!(accounting.kept, profile.total().count);
    }
}

#[test]
fn the_search_finds_addresses_however_they_are_written() {
    let search = Search {
        needles: Vec::new(),
        addresses: Vec::from([std::ops::Range {
            start: 0x7f12_3456_7000,
            end: 0x7f12_3456_8000,
        }]),
        numbers: vec![4242],
    };
    let address = 0x7f12_3456_7abcu64;
    let mut varint = Vec::new();
    let mut left = address;
    while left >= 0x80 {
        varint.push(left as u8 | 0x80);
        left >>= 7;
    }
    varint.push(left as u8);
    for bytes in [
        address.to_le_bytes().to_vec(),
        address.to_be_bytes().to_vec(),
        varint,
        format!("x {address} y").into_bytes(),
        format!("0x{address:x}").into_bytes(),
        format!("{address:016X}").into_bytes(),
    ] {
        let padded = [b"ab ".to_vec(), bytes, b" cd".to_vec()].concat();
        assert_eq!(search.find(Format::Pprof, &padded).len(), 1, "{padded:?}");
    }
    assert!(
        search
            .find(Format::Pprof, b"0x7f1234568000 140737488355328")
            .is_empty()
    );
    let numbered = br#"{"threads":[{"tid":"4242"}]}"#;
    assert_eq!(search.find(Format::Firefox, numbered).len(), 1);
    assert!(
        search
            .find(Format::Firefox, br#"{"length":4242}"#)
            .is_empty()
    );
}
