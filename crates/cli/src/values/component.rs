//! Arguments and results of component functions, in the WebAssembly Value Encoding.

use super::{check_count, integer};
use anyhow::{Result, anyhow, bail};
use wasmscope_listen::component as wit;
use wasmtime::component::wasm_wave::ast::Node;
use wasmtime::component::wasm_wave::parser::{ParserError, ParserErrorKind};
use wasmtime::component::wasm_wave::untyped::{UntypedFuncCall, UntypedValue};
use wasmtime::component::{Type, Val};

/// The arguments, as they were given.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Arguments {
    /// One by one, after the guest.
    Single(Vec<String>),
    /// With the function's name, and the brackets around them: `(2, "a")`.
    Bracketed(String),
}

/// Splits `add(2, 3)`, as `wasmtime run` wants components to be invoked, into the
/// name and its arguments; a name alone takes them from the command line.
///
/// # Errors
///
/// When there are arguments in both places, or a bracket is missing.
pub(crate) fn component_call(invoke: &str, texts: &[String]) -> Result<(String, Arguments)> {
    let Some(bracket) = invoke.find('(') else {
        return Ok((invoke.to_owned(), Arguments::Single(texts.to_vec())));
    };
    let (name, bracketed) = invoke.split_at(bracket);
    if !bracketed.trim_end().ends_with(')') {
        bail!("--invoke {invoke}: there is no closing bracket");
    }
    if !texts.is_empty() {
        bail!(
            "--invoke {invoke}: there are arguments in brackets and after the guest; use one way"
        );
    }
    let arguments = Arguments::Bracketed(bracketed.to_owned());
    Ok((name.trim().to_owned(), arguments))
}

/// Reads the arguments of a component's function.
///
/// # Errors
///
/// Says which argument is wrong, where, and what it must be, or how many there must be.
pub(crate) fn component_arguments(
    types: &[(String, Type)],
    arguments: &Arguments,
) -> Result<Vec<Val>> {
    match arguments {
        Arguments::Single(texts) => {
            check_count(types.len(), || names(types), texts.len())?;
            types
                .iter()
                .zip(texts)
                .map(|((name, ty), text)| single(name, ty, text))
                .collect()
        }
        Arguments::Bracketed(text) => bracketed(types, text),
    }
}

/// Lists parameters with their types.
fn names(types: &[(String, Type)]) -> Vec<String> {
    let types = types.iter();
    types
        .map(|(name, ty)| format!("{name}: {}", wit_type(ty)))
        .collect()
}

/// Reads one argument from the command line, where a number may also be hexadecimal, and
/// text needs no quotes.
fn single(name: &str, ty: &Type, text: &str) -> Result<Val> {
    check_type(name, ty)?;
    if let Some(value) = plain(ty, text) {
        return Ok(value);
    }
    UntypedValue::parse(text)
        .and_then(|value| value.to_wasm_value(ty))
        .map_err(|error| wrong(name, ty, text, &error))
}

/// Reads what the shell leaves as it is: numbers, and text without quotes.
fn plain(ty: &Type, text: &str) -> Option<Val> {
    fn int<N: TryFrom<i128>>(text: &str) -> Option<N> {
        integer(text).and_then(|n| N::try_from(n).ok())
    }
    Some(match ty {
        Type::S8 => Val::S8(int(text)?),
        Type::U8 => Val::U8(int(text)?),
        Type::S16 => Val::S16(int(text)?),
        Type::U16 => Val::U16(int(text)?),
        Type::S32 => Val::S32(int(text)?),
        Type::U32 => Val::U32(int(text)?),
        Type::S64 => Val::S64(int(text)?),
        Type::U64 => Val::U64(int(text)?),
        Type::Char => Val::Char(text.parse().ok()?),
        Type::String if !text.starts_with('"') => Val::String(text.to_owned()),
        _ => return None,
    })
}

/// Reads the arguments that stand in brackets. Options at the end may be left out.
fn bracketed(types: &[(String, Type)], text: &str) -> Result<Vec<Val>> {
    // The parser wants a name; the function's own may be one that it does not know.
    let call = format!("f{text}");
    let parsed = UntypedFuncCall::parse(&call)
        .map_err(|error| anyhow!("{}", explain(&error, &call, text)))?;
    let nodes: Vec<&Node> = match parsed.params_node() {
        Some(node) => node.as_tuple().map(Iterator::collect)?,
        None => Vec::new(),
    };
    let optional = types.iter().rev();
    let optional = optional.take_while(|(_, ty)| matches!(ty, Type::Option(_)));
    let least = types.len() - optional.count();
    if !(least..types.len()).contains(&nodes.len()) {
        check_count(types.len(), || names(types), nodes.len())?;
    }
    let mut values = Vec::new();
    for (at, (name, ty)) in types.iter().enumerate() {
        check_type(name, ty)?;
        values.push(match nodes.get(at) {
            Some(node) => node
                .to_wasm_value(ty, &call)
                .map_err(|error| wrong(name, ty, &call, &error))?,
            None => Val::Option(None),
        });
    }
    Ok(values)
}

/// Says what is wrong with an argument, and where.
fn wrong(name: &str, ty: &Type, source: &str, error: &ParserError) -> anyhow::Error {
    let what = explain(error, source, source);
    anyhow!("parameter {name}: {what}; its type is {}", wit_type(ty))
}

/// Writes an error with the text that it is about in place of its position. Where that is
/// nothing, it is the end of `whole`.
fn explain(error: &ParserError, source: &str, whole: &str) -> String {
    let span = error.span();
    let text = error.to_string();
    let what = text.strip_suffix(&format!(" at {span:?}")).unwrap_or(&text);
    // The kind of error, where more than that is said.
    let kind = ParserErrorKind::WasmValueError.to_string() + ": ";
    let what = what.strip_prefix(&kind).unwrap_or(what);
    match source.get(span) {
        None | Some("") => format!("{what} at the end of {whole:?}"),
        Some(part) => format!("{what} at {part:?}"),
    }
}

/// Checks that there is a way to write values of a type.
fn check_type(name: &str, ty: &Type) -> Result<()> {
    let ty = wit_type(ty);
    match unwritable(&ty) {
        None => Ok(()),
        Some(part) if *part == ty => {
            bail!("parameter {name}: a value of type {ty} cannot be given on the command line")
        }
        Some(part) => bail!(
            "parameter {name}: a value of type {ty} cannot be given on the command line, since \
             there is a {part} in it"
        ),
    }
}

/// Finds the part of a type whose values WAVE cannot read.
fn unwritable(ty: &wit::Type) -> Option<&wit::Type> {
    use wit::TypeKind as Kind;
    match ty.kind() {
        Kind::Map(_)
        | Kind::FixedList(..)
        | Kind::ErrorContext
        | Kind::Own(_)
        | Kind::Borrow(_)
        | Kind::Future(_)
        | Kind::Stream(_) => Some(ty),
        Kind::List(ty) | Kind::Option(ty) => unwritable(ty),
        Kind::Record(fields) => fields.iter().find_map(|(_, ty)| unwritable(ty)),
        Kind::Tuple(types) => types.iter().find_map(unwritable),
        Kind::Variant(cases) => cases.iter().find_map(|(_, ty)| unwritable(ty.as_ref()?)),
        Kind::Result(arms) => {
            let mut arms = [&arms.0, &arms.1].into_iter().flatten();
            arms.find_map(unwritable)
        }
        _ => None,
    }
}

/// Returns an engine's type as one that can be written.
fn wit_type(ty: &Type) -> wit::Type {
    let maybe = |ty: Option<Type>| ty.as_ref().map(wit_type);
    match ty {
        Type::Bool => wit::Type::BOOL,
        Type::S8 => wit::Type::S8,
        Type::U8 => wit::Type::U8,
        Type::S16 => wit::Type::S16,
        Type::U16 => wit::Type::U16,
        Type::S32 => wit::Type::S32,
        Type::U32 => wit::Type::U32,
        Type::S64 => wit::Type::S64,
        Type::U64 => wit::Type::U64,
        Type::Float32 => wit::Type::F32,
        Type::Float64 => wit::Type::F64,
        Type::Char => wit::Type::CHAR,
        Type::String => wit::Type::STRING,
        Type::ErrorContext => wit::Type::ERROR_CONTEXT,
        Type::List(list) => wit::Type::list(wit_type(&list.ty())),
        Type::FixedLengthList(list) => wit::Type::fixed_list(wit_type(&list.ty()), list.len()),
        Type::Map(map) => wit::Type::map(wit_type(&map.key()), wit_type(&map.value())),
        Type::Record(record) => {
            let fields = record.fields();
            wit::Type::record(fields.map(|field| (field.name, wit_type(&field.ty))))
        }
        Type::Tuple(tuple) => wit::Type::tuple(tuple.types().map(|ty| wit_type(&ty))),
        Type::Variant(variant) => {
            let cases = variant.cases();
            wit::Type::variant(cases.map(|case| (case.name, maybe(case.ty))))
        }
        Type::Enum(cases) => wit::Type::enumeration(cases.names()),
        Type::Flags(flags) => wit::Type::flags(flags.names()),
        Type::Option(option) => wit::Type::option(wit_type(&option.ty())),
        Type::Result(result) => wit::Type::result(maybe(result.ok()), maybe(result.err())),
        Type::Own(_) => wit::Type::own::<&str>(None),
        Type::Borrow(_) => wit::Type::borrow::<&str>(None),
        Type::Future(future) => wit::Type::future(maybe(future.ty())),
        Type::Stream(stream) => wit::Type::stream(maybe(stream.ty())),
    }
}

/// Writes the results of a component's function as WAVE does.
pub(crate) fn show_component(results: &[Val]) -> String {
    let texts: Vec<String> = results.iter().map(wave).collect();
    match texts.len() {
        1 => format!("{}\n", texts.concat()),
        _ => format!("({})\n", texts.join(", ")),
    }
}

/// Writes a value; what WAVE has no form for, as the engine names it.
fn wave(value: &Val) -> String {
    match has_form(value) {
        true => value.to_wave().unwrap_or_else(|error| error.to_string()),
        false => format!("{value:?}"),
    }
}

/// Tells whether WAVE has a form for a value and all in it.
fn has_form(value: &Val) -> bool {
    match value {
        Val::Map(_) | Val::Resource(_) | Val::Future(_) | Val::Stream(_) | Val::ErrorContext(_) => {
            false
        }
        Val::List(values) | Val::FixedLengthList(values) | Val::Tuple(values) => {
            values.iter().all(has_form)
        }
        Val::Record(fields) => fields.iter().all(|(_, value)| has_form(value)),
        Val::Variant(_, Some(value))
        | Val::Option(Some(value))
        | Val::Result(Ok(Some(value)) | Err(Some(value))) => has_form(value),
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wasmtime::component::Component;
    use wasmtime::component::types::ComponentItem;
    use wasmtime::{Config, Engine};

    fn texts(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|text| (*text).to_owned()).collect()
    }

    /// Returns a type from its text, as a component that imports a function has it.
    fn ty(text: &str) -> Type {
        let mut config = Config::new();
        config.wasm_component_model_map(true);
        config.wasm_component_model_fixed_length_lists(true);
        let engine = Engine::new(&config).unwrap();
        let component = format!(
            "(component
               (import \"r\" (type $r (sub resource)))
               (type $e' (enum \"red\" \"none\")) (import \"e\" (type $e (eq $e')))
               (type $f' (flags \"a\" \"b\")) (import \"f\" (type $f (eq $f')))
               (type $p' (record (field \"x\" u8) (field \"y\" (option string))))
               (import \"p\" (type $p (eq $p')))
               (type $v' (variant (case \"all\") (case \"at\" $p))) (import \"v\" (type $v (eq $v')))
               (import \"g\" (func (param \"a\" {text}))))"
        );
        let component = Component::new(&engine, component).unwrap();
        let imports = component.component_type();
        let function = imports.get_import(&engine, "g").unwrap();
        let ComponentItem::ComponentFunc(function) = function.ty else {
            panic!("g is a function");
        };
        function.params().next().unwrap().1
    }

    fn read(types: &[(&str, Type)], arguments: Arguments) -> Result<Vec<Val>> {
        let types: Vec<_> = types
            .iter()
            .map(|(name, ty)| ((*name).to_owned(), ty.clone()))
            .collect();
        component_arguments(&types, &arguments)
    }

    fn bracketed(text: &str) -> Arguments {
        Arguments::Bracketed(text.to_owned())
    }

    #[test]
    fn a_component_is_called_in_either_way() {
        let split = |invoke: &str, given: &[&str]| component_call(invoke, &texts(given));
        let single = Arguments::Single(texts(&["2", "3"]));
        assert_eq!(split("add", &["2", "3"]).unwrap(), ("add".into(), single));
        assert_eq!(
            split("add(2, 3)", &[]).unwrap(),
            ("add".into(), bracketed("(2, 3)"))
        );
        assert_eq!(split("a:b/c#f()", &[]).unwrap().0, "a:b/c#f");
        assert!(split("f(1", &[]).is_err());
        assert!(split("f(1)", &["2"]).is_err());

        let types = [("s", Type::String), ("c", Type::Char)];
        let values = read(&types, bracketed(r#"("a, \"b", 'c')"#)).unwrap();
        assert_eq!(show_component(&values), "(\"a, \\\"b\", 'c')\n");
        let plain = Arguments::Single(texts(&["a, \"b", "c"]));
        assert_eq!(read(&types, plain).unwrap(), values);
        let quoted = Arguments::Single(texts(&[r#""a, \"b""#, "'c'"]));
        assert_eq!(read(&types, quoted).unwrap(), values);
        let hexadecimal = Arguments::Single(texts(&["0xff"]));
        let byte = [("b", Type::U8)];
        assert_eq!(read(&byte, hexadecimal).unwrap(), [Val::U8(255)]);
        assert!(read(&[], bracketed("()")).unwrap().is_empty());
    }

    #[test]
    fn every_type_of_wave_is_read_and_written() {
        for (name, text) in [
            ("bool", "true"),
            ("s64", "-9223372036854775808"),
            ("f32", "-inf"),
            ("f64", "nan"),
            ("char", r"'\u{1f600}'"),
            ("string", r#""a\n""#),
            ("(list u8)", "[1, 2]"),
            ("(tuple u8 string)", "(1, \"a\")"),
            ("(option (option u8))", "some(none)"),
            ("(result u8 (error string))", "err(\"no\")"),
            ("(result)", "ok"),
            ("$e", "%none"),
            ("$f", "{a, b}"),
            ("$f", "{}"),
            ("$p", "{x: 1, y: some(\"b\")}"),
            ("$p", "{x: 1}"),
            ("$v", "at({x: 2})"),
            ("(list $v)", "[all, at({x: 2})]"),
        ] {
            let types = [("a", ty(name))];
            for arguments in [
                Arguments::Single(vec![text.to_owned()]),
                bracketed(&format!("({text})")),
            ] {
                let values = read(&types, arguments).unwrap();
                assert_eq!(
                    show_component(&values).replace("😀", r"\u{1f600}"),
                    format!("{text}\n"),
                    "{name}"
                );
            }
        }
        // Options at the end need not be given.
        let types = [
            ("a", Type::U8),
            ("b", ty("(option u8)")),
            ("c", ty("(option u8)")),
        ];
        let values = read(&types, bracketed("(1, some(2))")).unwrap();
        assert_eq!(show_component(&values), "(1, some(2), none)\n");
    }

    #[test]
    fn an_error_says_what_is_wrong_where() {
        let error = |types: &[(&str, Type)], text: &str| {
            let arguments = match text.starts_with('(') {
                true => bracketed(text),
                false => Arguments::Single(vec![text.to_owned()]),
            };
            read(types, arguments).unwrap_err().to_string()
        };
        let byte = ("n", Type::U8);
        let list = ("all", ty("(list u8)"));
        let point = ("p", ty("$p"));
        for (types, text, says) in [
            (
                vec![byte.clone()],
                "300",
                "parameter n: invalid value at \"300\"; its type is u8",
            ),
            (
                vec![byte.clone(), list.clone()],
                "(1, [1, x])",
                "parameter all: invalid value type at \"x\"; its type is list<u8>",
            ),
            (
                vec![list],
                "[1, 2",
                "parameter all: unexpected end of input at the end of \"[1, 2\"; its type is list<u8>",
            ),
            (
                vec![byte.clone()],
                "(1, 2)",
                "the function takes 1 argument (n: u8), and 2 were given",
            ),
            (
                vec![byte.clone(), point.clone()],
                "()",
                "the function takes 2 arguments (n: u8, p: record { x: u8, y: option<string> }), and 0 were given",
            ),
            (
                vec![byte],
                "(1, [)",
                "unexpected token: ParenClose at \")\"",
            ),
            (
                vec![point],
                "{y: none}",
                "parameter p: missing field \"x\" at \"{y: none}\"; its type is record { x: u8, y: option<string> }",
            ),
            (
                vec![("c", Type::Char)],
                "long",
                "parameter c: invalid value type at \"long\"; its type is char",
            ),
            (
                vec![("e", ty("$e"))],
                "blue",
                "parameter e: expected a enum { red, none }; got blue at \"blue\"; its type is enum { red, none }",
            ),
            (
                vec![("r", ty("(own $r)"))],
                "1",
                "parameter r: a value of type resource cannot be given on the command line",
            ),
            (
                vec![("m", ty("(list (map u8 string))"))],
                "[]",
                "parameter m: a value of type list<map<u8, string>> cannot be given on the command line, since there is a map<u8, string> in it",
            ),
            (
                vec![("l", ty("(list u8 2)"))],
                "[1, 2]",
                "parameter l: a value of type list<u8, 2> cannot be given on the command line",
            ),
        ] {
            assert_eq!(error(&types, text), says);
        }
    }
}
