//! The table of WASI's functions against the documents that define them, as another
//! reader of these documents (`witx`) understands them: every function, every
//! parameter, every type with its size, places and names.
//!
//! The documents are those that the engine's own WASI is generated from.

use std::path::PathBuf;
use std::process::Command;

use wasmscope_trace::wasi::{Function, Parameter, Shape};
use witx::{BuiltinType, Layout, Type, TypeRef};

/// Finds the sources of the engine's WASI, in whatever place cargo keeps them.
fn documents() -> PathBuf {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version=1"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{output:?}");
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let packages = metadata["packages"].as_array().expect("packages");
    let wasi = packages
        .iter()
        .find(|package| package["name"] == "wasmtime-wasi");
    let manifest = wasi.expect("the workspace uses wasmtime-wasi")["manifest_path"].as_str();
    PathBuf::from(manifest.expect("a path")).with_file_name("witx")
}

/// Checks a function and returns how many things were compared.
fn compare(function: Function, document: &witx::InterfaceFunc) -> usize {
    let name = function.name();
    let mut ours = function.parameters().iter().copied();
    let mut next = || ours.next().unwrap_or_else(|| panic!("{name}: too few"));
    let mut params = document.params.iter().peekable();
    while let Some(param) = params.next() {
        let place = format!("{name} {}", param.name.as_str());
        let ty = &**param.tref.type_();
        match (next(), ty) {
            (Parameter::In(ours, shape), _) => {
                assert_eq!(ours, param.name.as_str(), "{place}");
                same(shape, &param.tref, &place);
            }
            (Parameter::Path(ours), Type::List(item)) => {
                assert_eq!(ours, param.name.as_str(), "{place}");
                assert!(
                    matches!(&**item.type_(), Type::Builtin(BuiltinType::Char)),
                    "{place}"
                );
            }
            (Parameter::Gather(ours) | Parameter::Scatter(ours), Type::List(item)) => {
                assert_eq!(ours, param.name.as_str(), "{place}");
                let record = match &**item.type_() {
                    Type::Record(record) => record,
                    other => panic!("{place}: {other:?}"),
                };
                assert_eq!(record.members[0].name.as_str(), "buf");
                assert_eq!(record.members[1].name.as_str(), "buf_len");
                assert_eq!(item.mem_size(), 8);
            }
            (
                Parameter::Buffer(ours) | Parameter::Dirents(ours),
                Type::Pointer(_) | Type::ConstPointer(_),
            ) => {
                assert_eq!(ours, param.name.as_str(), "{place}");
                let length = params.next().expect("a length");
                assert_eq!(length.name.as_str(), format!("{ours}_len"), "{place}");
            }
            (Parameter::Argv(ours), Type::Pointer(_)) => {
                assert_eq!(ours, param.name.as_str(), "{place}");
                let buffer = params.next().expect("a buffer");
                assert_eq!(buffer.name.as_str(), format!("{ours}_buf"), "{place}");
            }
            (Parameter::Some(ours, shape, count), Type::ConstPointer(item)) => {
                assert_eq!(ours, param.name.as_str(), "{place}");
                same(shape, item, &place);
                let mut names = document.params.iter().map(|param| param.name.as_str());
                assert!(names.any(|name| name == count), "{place}: {count}");
            }
            (Parameter::Written(ours, shape), Type::Pointer(item)) => {
                assert_eq!(ours, param.name.as_str(), "{place}");
                same(shape, item, &place);
            }
            (ours, theirs) => panic!("{place}: {ours:?} for {theirs:?}"),
        }
    }
    for (at, result) in results(document).iter().enumerate() {
        match next() {
            Parameter::Out(_, shape) => same(shape, result, &format!("{name} result {at}")),
            other => panic!("{name}: {other:?} for a result"),
        }
    }
    assert!(ours.next().is_none(), "{name}: too many");
    assert_eq!(
        function.width(),
        document.wasm_signature().0.len(),
        "{name}"
    );
    1
}

/// Returns what a function leaves in memory when it succeeds.
fn results(document: &witx::InterfaceFunc) -> Vec<TypeRef> {
    let Some(result) = document.results.first() else {
        return Vec::new();
    };
    let Type::Variant(variant) = &**result.tref.type_() else {
        panic!("{:?}", document.name);
    };
    let (ok, error) = variant.as_expected().expect("success or an error");
    let error = error.expect("an error number");
    let errno = Function::find("wasi_snapshot_preview1", "sched_yield").expect("a function");
    let names = match &**error.type_() {
        Type::Variant(names) => names,
        other => panic!("{other:?}"),
    };
    for (number, case) in names.cases.iter().enumerate() {
        let outcome = errno.outcome(&[], &[number as u64], NONE, &Default::default());
        let expected = case.name.as_str();
        assert_eq!(outcome.errno.expect("a name").to_string(), expected);
    }
    let Some(ok) = ok else {
        return Vec::new();
    };
    match &**ok.type_() {
        Type::Record(record) if record.is_tuple() => {
            let members = record.members.iter();
            members.map(|member| member.tref.clone()).collect()
        }
        _ => vec![ok.clone()],
    }
}

const NONE: &wasmscope_trace::NoMemory = &wasmscope_trace::NoMemory;

/// Checks a type: its size, its names, and the same of all that it is made of.
fn same(shape: Shape, document: &TypeRef, place: &str) {
    assert_eq!(shape.size(), document.mem_size(), "{place}: size");
    assert_eq!(shape.align(), document.mem_align(), "{place}: alignment");
    match (shape, &**document.type_()) {
        (Shape::Unsigned(_), Type::Handle(_) | Type::Pointer(_) | Type::ConstPointer(_)) => {}
        (
            Shape::Unsigned(_),
            Type::Builtin(
                BuiltinType::U8 { .. }
                | BuiltinType::U16
                | BuiltinType::U32 { .. }
                | BuiltinType::U64,
            ),
        ) => {}
        (Shape::Signed(_), Type::Builtin(BuiltinType::S64)) => {}
        (Shape::Names(_, names), Type::Variant(variant)) => {
            assert!(variant.is_enum(), "{place}");
            let theirs: Vec<_> = variant.cases.iter().map(|one| one.name.as_str()).collect();
            assert_eq!(names, theirs, "{place}");
        }
        (Shape::Flags(_, names), Type::Record(record)) => {
            assert!(record.bitflags_repr().is_some(), "{place}");
            let theirs: Vec<_> = record.members.iter().map(|one| one.name.as_str()).collect();
            // The older snapshot has one right less, which is then never set.
            let known = names.get(..theirs.len()).unwrap_or_default();
            assert_eq!(known, theirs, "{place}");
        }
        (Shape::Record(fields), Type::Record(record)) => {
            let theirs = record.member_layout();
            assert_eq!(fields.len(), theirs.len(), "{place}");
            for (at, ((name, field), member)) in fields.iter().zip(&theirs).enumerate() {
                let place = format!("{place}.{name}");
                assert_eq!(*name, member.member.name.as_str(), "{place}");
                same(*field, &member.member.tref, &place);
                assert_eq!(offset(fields, at), member.offset, "{place}: offset");
            }
        }
        (Shape::Union(cases), Type::Variant(variant)) => {
            assert_eq!(cases.len(), variant.cases.len(), "{place}");
            for ((name, case), theirs) in cases.iter().zip(&variant.cases) {
                let place = format!("{place}.{name}");
                assert_eq!(*name, theirs.name.as_str(), "{place}");
                same(*case, theirs.tref.as_ref().expect("a payload"), &place);
            }
        }
        (shape, other) => panic!("{place}: {shape:?} for {other:?}"),
    }
}

/// Where a field is, by the rule that [`Shape::read`] goes by.
fn offset(fields: &'static [(&'static str, Shape)], at: usize) -> usize {
    fields[..at]
        .iter()
        .fold(0_usize, |end, (_, shape)| {
            end.next_multiple_of(shape.align()) + shape.size()
        })
        .next_multiple_of(fields[at].1.align())
}

fn check(directory: &str, module: &str) -> usize {
    let path = documents().join(directory).join(format!("{module}.witx"));
    let document = witx::load(&[&path]).unwrap_or_else(|error| panic!("{}", error.report()));
    let theirs = document.module(&witx::Id::new(module)).expect("the module");
    let mut compared = 0;
    for function in theirs.funcs() {
        let name = function.name.as_str();
        let ours = Function::find(module, name).unwrap_or_else(|| panic!("{name} is missing"));
        compared += compare(ours, &function);
    }
    assert_eq!(Function::all(module).count(), compared, "none too many");
    compared
}

#[test]
fn every_function_of_preview_1_is_as_its_document_says() {
    assert_eq!(check("p1", "wasi_snapshot_preview1"), 46);
}

#[test]
fn every_function_of_the_snapshot_before_it_is_as_its_document_says() {
    assert_eq!(check("p0", "wasi_unstable"), 45);
}
