//! Types that nobody wrote, and values of them: as the text format has them, as the
//! library has them, and as the engine takes them.

use wasmscope::listen::component::Type;
use wasmtime::component::Val;

/// Numbers that look random, the same each time.
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn word(&mut self) -> u64 {
        // SplitMix64.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }

    pub(crate) fn below(&mut self, end: usize) -> usize {
        (self.word() % end as u64) as usize
    }

    pub(crate) fn coin(&mut self) -> bool {
        self.word() & 1 == 0
    }
}

/// A component's type, as this test knows it.
#[derive(Clone, Debug)]
pub(crate) enum Shape {
    Scalar(&'static str),
    String,
    List(Box<Shape>),
    FixedList(Box<Shape>, u32),
    Map(&'static str, Box<Shape>),
    Record(Vec<Shape>),
    Tuple(Vec<Shape>),
    Variant(Vec<Option<Shape>>),
    Enum(usize),
    Flags(usize),
    Option(Box<Shape>),
    Result(Option<Box<Shape>>, Option<Box<Shape>>),
}

const SCALARS: [&str; 12] = [
    "bool", "s8", "u8", "s16", "u16", "s32", "u32", "s64", "u64", "f32", "f64", "char",
];

/// What a map's keys may be.
const KEYS: [&str; 5] = ["bool", "u8", "s32", "u64", "char"];

/// Case names, some of which are words of WAVE.
fn case_name(at: usize) -> String {
    match at {
        1 => "none".to_owned(),
        3 => "ok".to_owned(),
        at => format!("case-{at}"),
    }
}

impl Shape {
    /// Makes a type that is nested at most `depth` deep.
    pub(crate) fn roll(dice: &mut Dice, depth: u32) -> Self {
        let kinds = if depth == 0 { 6 } else { 20 };
        let inner = |dice: &mut Dice| Self::roll(dice, depth - 1);
        let maybe = |dice: &mut Dice| dice.coin().then(|| Self::roll(dice, depth - 1));
        match dice.below(kinds) {
            0..=2 => Self::Scalar(SCALARS[dice.below(SCALARS.len())]),
            3 => Self::String,
            // Both sides of each step in the width of a discriminant, and of flags.
            4 => Self::Enum([1, 2, 255, 256, 257, 300][dice.below(6)]),
            5 => Self::Flags([1, 7, 8, 9, 15, 16, 17, 31, 32][dice.below(9)]),
            6..=8 => Self::List(Box::new(inner(dice))),
            9 => Self::FixedList(Box::new(inner(dice)), dice.below(5) as u32 + 1),
            10 => Self::Map(KEYS[dice.below(KEYS.len())], Box::new(inner(dice))),
            11..=12 => {
                let fields = dice.below(5) + 1;
                Self::Record((0..fields).map(|_| inner(dice)).collect())
            }
            13 => {
                let types = dice.below(4) + 1;
                Self::Tuple((0..types).map(|_| inner(dice)).collect())
            }
            14..=16 => {
                let few = dice.below(5) + 1;
                let mut cases: Vec<_> = (0..few).map(|_| maybe(dice)).collect();
                if dice.below(8) == 0 {
                    cases.resize(257, None);
                }
                Self::Variant(cases)
            }
            17..=18 => Self::Option(Box::new(inner(dice))),
            _ => Self::Result(maybe(dice).map(Box::new), maybe(dice).map(Box::new)),
        }
    }

    /// Returns the type as the library takes it.
    pub(crate) fn ty(&self) -> Type {
        match self {
            Self::Scalar(name) => scalar(name),
            Self::String => Type::STRING,
            Self::List(element) => Type::list(element.ty()),
            Self::FixedList(element, length) => Type::fixed_list(element.ty(), *length),
            Self::Map(key, value) => Type::map(scalar(key), value.ty()),
            Self::Record(fields) => {
                let fields = fields.iter().enumerate();
                Type::record(fields.map(|(at, shape)| (format!("f{at}"), shape.ty())))
            }
            Self::Tuple(types) => Type::tuple(types.iter().map(Self::ty)),
            Self::Variant(cases) => {
                let cases = cases.iter().enumerate();
                Type::variant(cases.map(|(at, case)| (case_name(at), case.as_ref().map(Self::ty))))
            }
            Self::Enum(cases) => Type::enumeration((0..*cases).map(case_name)),
            Self::Flags(flags) => Type::flags((0..*flags).map(|at| format!("g{at}"))),
            Self::Option(some) => Type::option(some.ty()),
            Self::Result(ok, err) => Type::result(
                ok.as_ref().map(|ok| ok.ty()),
                err.as_ref().map(|err| err.ty()),
            ),
        }
    }

    /// Returns the type's name in the text format, after putting into `types` what it
    /// needs there.
    pub(crate) fn text(&self, types: &mut Vec<String>) -> String {
        let mut texts = |shapes: &[Shape]| -> Vec<String> {
            shapes.iter().map(|shape| shape.text(types)).collect()
        };
        let definition = match self {
            Self::Scalar(name) => return (*name).to_owned(),
            Self::String => return "string".to_owned(),
            Self::List(element) => format!("(list {})", element.text(types)),
            Self::FixedList(element, length) => format!("(list {} {length})", element.text(types)),
            Self::Map(key, value) => format!("(map {key} {})", value.text(types)),
            Self::Record(fields) => {
                let fields = texts(fields).into_iter().enumerate();
                let fields: Vec<_> = fields
                    .map(|(at, ty)| format!("(field \"f{at}\" {ty})"))
                    .collect();
                format!("(record {})", fields.join(" "))
            }
            Self::Tuple(shapes) => format!("(tuple {})", texts(shapes).join(" ")),
            Self::Variant(cases) => {
                let cases: Vec<_> = cases
                    .iter()
                    .enumerate()
                    .map(|(at, case)| {
                        let payload = case.as_ref().map(|case| case.text(types));
                        format!(
                            "(case \"{}\" {})",
                            case_name(at),
                            payload.unwrap_or_default()
                        )
                    })
                    .collect();
                format!("(variant {})", cases.join(" "))
            }
            Self::Enum(cases) => {
                let cases: Vec<_> = (0..*cases)
                    .map(|at| format!("\"{}\"", case_name(at)))
                    .collect();
                format!("(enum {})", cases.join(" "))
            }
            Self::Flags(flags) => {
                let flags: Vec<_> = (0..*flags).map(|at| format!("\"g{at}\"")).collect();
                format!("(flags {})", flags.join(" "))
            }
            Self::Option(some) => format!("(option {})", some.text(types)),
            Self::Result(ok, err) => {
                let ok = ok.as_ref().map(|ok| ok.text(types)).unwrap_or_default();
                let err = err
                    .as_ref()
                    .map(|err| format!("(error {})", err.text(types)));
                format!("(result {ok} {})", err.unwrap_or_default())
            }
        };
        let at = types.len();
        types.push(format!(
            "(type $d{at} {definition}) (import \"t{at}\" (type $t{at} (eq $d{at})))"
        ));
        format!("$t{at}")
    }

    /// Returns the core types of the flat value, by the rules of the Canonical ABI.
    pub(crate) fn flat(&self) -> Vec<&'static str> {
        let all = |shapes: &[Shape]| shapes.iter().flat_map(Self::flat).collect();
        match self {
            Self::Scalar("s64" | "u64") => vec!["i64"],
            Self::Scalar("f32") => vec!["f32"],
            Self::Scalar("f64") => vec!["f64"],
            Self::Scalar(_) | Self::Enum(_) | Self::Flags(_) => vec!["i32"],
            Self::String | Self::List(_) | Self::Map(..) => vec!["i32", "i32"],
            Self::FixedList(element, length) => element.flat().repeat(*length as usize),
            Self::Record(shapes) | Self::Tuple(shapes) => all(shapes),
            Self::Variant(cases) => join(cases.iter().flatten()),
            Self::Option(some) => join([&**some]),
            Self::Result(ok, err) => join(ok.iter().chain(err).map(|shape| &**shape)),
        }
    }

    /// Makes a value.
    pub(crate) fn value(&self, dice: &mut Dice) -> Val {
        let boxed = |dice: &mut Dice, shape: &Shape| Box::new(shape.value(dice));
        match self {
            Self::Scalar(name) => scalar_value(name, dice),
            Self::String => Val::String(string(dice)),
            Self::List(element) => {
                // Now and then longer than is read at once.
                let length = if dice.below(40) == 0 {
                    3000
                } else {
                    dice.below(5)
                };
                let length = if element.is_small() {
                    length
                } else {
                    length.min(4)
                };
                Val::List((0..length).map(|_| element.value(dice)).collect())
            }
            Self::FixedList(element, length) => {
                Val::FixedLengthList((0..*length).map(|_| element.value(dice)).collect())
            }
            Self::Map(key, value) => {
                let entries = 0..dice.below(4);
                Val::Map(
                    entries
                        .map(|_| (scalar_value(key, dice), value.value(dice)))
                        .collect(),
                )
            }
            Self::Record(fields) => {
                let fields = fields.iter().enumerate();
                Val::Record(
                    fields
                        .map(|(at, shape)| (format!("f{at}"), shape.value(dice)))
                        .collect(),
                )
            }
            Self::Tuple(types) => Val::Tuple(types.iter().map(|shape| shape.value(dice)).collect()),
            Self::Variant(cases) => {
                let at = dice.below(cases.len());
                let payload = cases[at].as_ref().map(|shape| boxed(dice, shape));
                Val::Variant(case_name(at), payload)
            }
            Self::Enum(cases) => Val::Enum(case_name(dice.below(*cases))),
            Self::Flags(flags) => {
                let names = (0..*flags).filter(|_| dice.coin());
                Val::Flags(names.map(|at| format!("g{at}")).collect())
            }
            Self::Option(some) => Val::Option(dice.coin().then(|| boxed(dice, some))),
            Self::Result(ok, err) => Val::Result(match dice.coin() {
                true => Ok(ok.as_ref().map(|shape| boxed(dice, shape))),
                false => Err(err.as_ref().map(|shape| boxed(dice, shape))),
            }),
        }
    }

    fn is_small(&self) -> bool {
        matches!(self, Self::Scalar(_) | Self::Enum(_) | Self::Flags(_))
    }
}

/// Joins the flat types of cases behind a discriminant.
fn join<'s>(cases: impl IntoIterator<Item = &'s Shape>) -> Vec<&'static str> {
    let mut joined: Vec<&str> = Vec::new();
    for case in cases {
        for (at, ty) in case.flat().into_iter().enumerate() {
            match joined.get_mut(at) {
                None => joined.push(ty),
                Some(other) if *other == ty => {}
                Some(other) => {
                    *other = match (&**other, ty) {
                        ("i32", "f32") | ("f32", "i32") => "i32",
                        _ => "i64",
                    }
                }
            }
        }
    }
    joined.insert(0, "i32");
    joined
}

fn scalar(name: &str) -> Type {
    match name {
        "bool" => Type::BOOL,
        "s8" => Type::S8,
        "u8" => Type::U8,
        "s16" => Type::S16,
        "u16" => Type::U16,
        "s32" => Type::S32,
        "u32" => Type::U32,
        "s64" => Type::S64,
        "u64" => Type::U64,
        "f32" => Type::F32,
        "f64" => Type::F64,
        "char" => Type::CHAR,
        other => panic!("{other}"),
    }
}

fn scalar_value(name: &str, dice: &mut Dice) -> Val {
    let word = dice.word();
    match name {
        "bool" => Val::Bool(word & 1 != 0),
        "s8" => Val::S8(word as i8),
        "u8" => Val::U8(word as u8),
        "s16" => Val::S16(word as i16),
        "u16" => Val::U16(word as u16),
        "s32" => Val::S32(word as i32),
        "u32" => Val::U32(word as u32),
        "s64" => Val::S64(word as i64),
        "u64" => Val::U64(word),
        "f32" => Val::Float32(f32::from_bits(word as u32)),
        "f64" => Val::Float64(f64::from_bits(word)),
        "char" => Val::Char(character(dice)),
        other => panic!("{other}"),
    }
}

fn character(dice: &mut Dice) -> char {
    let chosen = [
        '\0',
        '\n',
        '"',
        '\'',
        '\\',
        'a',
        'Z',
        '\u{7f}',
        '\u{e9}',
        '\u{ff}',
        '\u{100}',
        '\u{20ac}',
        '\u{202e}',
        '\u{301}',
        '\u{ffff}',
        '\u{1f600}',
        '\u{10ffff}',
    ];
    chosen[dice.below(chosen.len())]
}

/// Strings of one, two, three and four bytes a character, and those that are Latin-1.
fn string(dice: &mut Dice) -> String {
    let length = if dice.below(20) == 0 {
        200
    } else {
        dice.below(8)
    };
    let is_latin = dice.coin();
    (0..length)
        .map(|_| match is_latin {
            true => char::from(dice.word() as u8),
            false => character(dice),
        })
        .collect()
}
