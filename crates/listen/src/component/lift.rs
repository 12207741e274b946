//! From words and bytes to values.
//!
//! A value is lifted from a [`Place`]: flat words, one or more for each scalar, or the
//! bytes that its layout takes. Pointers within lead to more bytes. Words hold their
//! value's bits from the lowest on, whatever core type a variant's cases were joined to,
//! so a word needs no type.

use std::sync::Arc;

use super::abi::{Abi, StringEncoding};
use super::error::{LiftError, LiftErrorKind};
use super::layout::{Extent, Layout, discriminant_bytes};
use super::limits::Limits;
use super::memory::Memory;
use super::text::Encoding;
use super::ty::{Type, TypeKind};
use super::value::{HandleKind, Value};

/// Deeper types are refused, so that no stack overflows.
const MAX_DEPTH: u16 = 200;

/// How much of a list is read at once.
const CHUNK: u64 = 1 << 14;

type Lifted<T> = Result<T, LiftError>;

/// Where a value is.
#[derive(Clone, Copy)]
pub(super) enum Place<'p> {
    /// Its flat words.
    Words(&'p [u64]),
    /// Its bytes.
    Bytes(&'p [u8]),
}

/// Lifts the values of one call.
pub(super) struct Lifter<'a, M: ?Sized> {
    memory: &'a M,
    abi: Abi,
    limits: &'a Limits,
    /// How many more values may be lifted.
    values: usize,
    /// How many more bytes may be read.
    bytes: usize,
}

fn missing() -> LiftError {
    LiftError::new(LiftErrorKind::MissingWords)
}

fn too_large() -> LiftError {
    LiftError::new(LiftErrorKind::TooLarge)
}

fn out_of_bounds(address: u64, len: u64) -> LiftError {
    LiftError::new(LiftErrorKind::OutOfBounds { address, len })
}

impl<'p> Place<'p> {
    /// Reads the scalar of so many bytes that begins here.
    fn scalar(self, bytes: u32) -> Lifted<u64> {
        match self {
            Self::Words(words) => words.first().copied().ok_or_else(missing),
            Self::Bytes(all) => {
                let bytes = all.get(..bytes as usize).ok_or_else(missing)?;
                let mut number = [0; 8];
                number
                    .get_mut(..bytes.len())
                    .ok_or_else(missing)?
                    .copy_from_slice(bytes);
                Ok(u64::from_le_bytes(number))
            }
        }
    }
}

/// Goes through the fields of a place.
struct Fields<'p> {
    place: Place<'p>,
    abi: Abi,
    words: usize,
    bytes: Extent,
}

impl<'p> Fields<'p> {
    fn new(place: Place<'p>, abi: Abi) -> Self {
        Self {
            place,
            abi,
            words: 0,
            bytes: Extent::EMPTY,
        }
    }

    fn next(&mut self, layout: &Layout) -> Lifted<Place<'p>> {
        let part = match self.place {
            Place::Words(words) => {
                let begin = self.words;
                self.words += usize::from(layout.flat);
                words.get(begin..self.words).map(Place::Words)
            }
            Place::Bytes(bytes) => {
                let extent = layout.extent(self.abi.pointer);
                let begin = usize::try_from(self.bytes.push(extent)).ok();
                let len = usize::try_from(extent.size).ok();
                begin
                    .zip(len)
                    .and_then(|(begin, len)| bytes.get(begin..)?.get(..len))
                    .map(Place::Bytes)
            }
        };
        part.ok_or_else(missing)
    }
}

impl<'a, M: Memory + ?Sized> Lifter<'a, M> {
    pub(super) fn new(memory: &'a M, abi: Abi, limits: &'a Limits) -> Self {
        Self {
            memory,
            abi,
            limits,
            values: limits.values,
            bytes: limits.bytes,
        }
    }

    /// Lifts what lies one after the other, each with its name.
    pub(super) fn fields<'t>(
        &mut self,
        place: Place<'_>,
        fields: impl IntoIterator<Item = (&'t str, &'t Type)>,
    ) -> Lifted<Vec<Value>> {
        let mut places = Fields::new(place, self.abi);
        fields
            .into_iter()
            .map(|(name, ty)| {
                let mut lift = |lifter: &mut Self| {
                    if ty.depth > MAX_DEPTH {
                        return Err(LiftError::new(LiftErrorKind::TooDeep));
                    }
                    let place = places.next(&ty.layout)?;
                    lifter.value(ty, place)
                };
                lift(self).map_err(|error| error.within(name))
            })
            .collect()
    }

    /// Reads the bytes of a layout that a word leads to.
    pub(super) fn pointed_by(&mut self, word: Option<&u64>, layout: &Layout) -> Lifted<Vec<u8>> {
        let address = self.abi.pointer.of_word(*word.ok_or_else(missing)?);
        let extent = layout.extent(self.abi.pointer);
        self.check(address, extent.size, extent.align)?;
        self.read(address, extent.size)
    }

    /// Reads bytes that were checked to be there.
    fn read(&mut self, address: u64, len: u64) -> Lifted<Vec<u8>> {
        let wanted = usize::try_from(len).map_err(|_| too_large())?;
        self.bytes = self.bytes.checked_sub(wanted).ok_or_else(too_large)?;
        let mut bytes = vec![0; wanted];
        match self.memory.read(address, &mut bytes) {
            true => Ok(bytes),
            false => Err(out_of_bounds(address, len)),
        }
    }

    /// Checks that bytes are in the memory, at an aligned address.
    fn check(&self, address: u64, len: u64, align: u32) -> Lifted<()> {
        let end = address.checked_add(len);
        if end.is_none_or(|end| end > self.memory.size()) {
            return Err(out_of_bounds(address, len));
        }
        match address % u64::from(align) {
            0 => Ok(()),
            _ => Err(LiftError::new(LiftErrorKind::Misaligned { address, align })),
        }
    }

    fn value(&mut self, ty: &Type, place: Place<'_>) -> Lifted<Value> {
        self.values = self.values.checked_sub(1).ok_or_else(too_large)?;
        Ok(match ty.kind() {
            TypeKind::Bool => Value::Bool(place.scalar(1)? as u32 != 0),
            TypeKind::S8 => Value::S8((place.scalar(1)? as u8).cast_signed()),
            TypeKind::U8 => Value::U8(place.scalar(1)? as u8),
            TypeKind::S16 => Value::S16((place.scalar(2)? as u16).cast_signed()),
            TypeKind::U16 => Value::U16(place.scalar(2)? as u16),
            TypeKind::S32 => Value::S32((place.scalar(4)? as u32).cast_signed()),
            TypeKind::U32 => Value::U32(place.scalar(4)? as u32),
            TypeKind::S64 => Value::S64(place.scalar(8)?.cast_signed()),
            TypeKind::U64 => Value::U64(place.scalar(8)?),
            TypeKind::F32 => Value::F32(f32::from_bits(place.scalar(4)? as u32)),
            TypeKind::F64 => Value::F64(f64::from_bits(place.scalar(8)?)),
            TypeKind::Char => {
                let number = place.scalar(4)? as u32;
                let character = char::from_u32(number);
                Value::Char(character.ok_or_else(|| LiftError::new(LiftErrorKind::Char(number)))?)
            }
            TypeKind::String => self.string(place)?,
            TypeKind::List(element) if is_byte(element) => self.byte_list(place)?,
            TypeKind::List(element) => {
                let (values, more) = self.elements(place, &element.layout, |lifter, place| {
                    lifter.value(element, place)
                })?;
                Value::List { values, more }
            }
            TypeKind::Map(types) => {
                let (key, value) = &**types;
                let entry = Layout::of_fields([&key.layout, &value.layout]);
                let (entries, more) = self.elements(place, &entry, |lifter, place| {
                    let mut places = Fields::new(place, lifter.abi);
                    let (at_key, at_value) =
                        (places.next(&key.layout)?, places.next(&value.layout)?);
                    Ok((
                        lifter.value(key, at_key).map_err(|e| e.within("key"))?,
                        lifter
                            .value(value, at_value)
                            .map_err(|e| e.within("value"))?,
                    ))
                })?;
                Value::Map { entries, more }
            }
            TypeKind::FixedList(element, length) => self.fixed_list(element, *length, place)?,
            TypeKind::Record(fields) => {
                let named = fields.iter().map(|(name, ty)| (&**name, ty));
                let values = self.fields(place, named)?;
                let names = fields.iter().map(|(name, _)| name.clone());
                Value::Record(names.zip(values).collect())
            }
            TypeKind::Tuple(types) => {
                let mut places = Fields::new(place, self.abi);
                let values = types.iter().enumerate().map(|(at, ty)| {
                    let place = places.next(&ty.layout)?;
                    self.value(ty, place).map_err(|error| error.within(at))
                });
                Value::Tuple(values.collect::<Lifted<_>>()?)
            }
            TypeKind::Variant(cases) => {
                let case = case(place, cases.len())?;
                let (name, payload) = cases.get(case).ok_or_else(missing)?;
                let value = self.payload(ty, place, cases.len(), name, payload.as_ref())?;
                Value::Variant(name.clone(), value)
            }
            TypeKind::Enum(cases) => {
                let case = case(place, cases.len())?;
                Value::Enum(cases.get(case).ok_or_else(missing)?.clone())
            }
            TypeKind::Flags(names) => self.flags(names, place)?,
            TypeKind::Option(some) => Value::Option(match case(place, 2)? {
                0 => None,
                _ => self.payload(ty, place, 2, "some", Some(some))?,
            }),
            TypeKind::Result(arms) => Value::Result(match case(place, 2)? {
                0 => Ok(self.payload(ty, place, 2, "ok", arms.0.as_ref())?),
                _ => Err(self.payload(ty, place, 2, "err", arms.1.as_ref())?),
            }),
            TypeKind::Own(resource) => handle(HandleKind::Own, resource.clone(), place)?,
            TypeKind::Borrow(resource) => handle(HandleKind::Borrow, resource.clone(), place)?,
            TypeKind::Future(_) => handle(HandleKind::Future, None, place)?,
            TypeKind::Stream(_) => handle(HandleKind::Stream, None, place)?,
            TypeKind::ErrorContext => handle(HandleKind::ErrorContext, None, place)?,
        })
    }

    /// Lifts what a case of a variant type carries.
    fn payload(
        &mut self,
        variant: &Type,
        place: Place<'_>,
        cases: usize,
        name: &str,
        payload: Option<&Type>,
    ) -> Lifted<Option<Box<Value>>> {
        let Some(payload) = payload else {
            return Ok(None);
        };
        let part = match place {
            Place::Words(words) => words
                .get(1..)
                .and_then(|words| words.get(..usize::from(payload.layout.flat)))
                .map(Place::Words),
            // The payloads of all cases begin at the same place, aligned for any of them:
            // the variant's alignment is the greatest, and the discriminant is no longer
            // than its own.
            Place::Bytes(bytes) => {
                let align = variant.layout.extent(self.abi.pointer).align;
                let begin = discriminant_bytes(cases).next_multiple_of(align) as usize;
                let len = usize::try_from(payload.layout.extent(self.abi.pointer).size).ok();
                len.and_then(|len| bytes.get(begin..)?.get(..len))
                    .map(Place::Bytes)
            }
        };
        let value = self.value(payload, part.ok_or_else(missing)?);
        value
            .map(|value| Some(Box::new(value)))
            .map_err(|error| error.within(name))
    }

    fn flags(&mut self, names: &[Arc<str>], place: Place<'_>) -> Lifted<Value> {
        let width = match names.len() {
            0..=8 => 1,
            9..=16 => 2,
            _ => 4,
        };
        let mut set = Vec::new();
        for (at, names) in names.chunks(32).enumerate() {
            let part = match place {
                Place::Words(words) => words.get(at..).map(Place::Words),
                Place::Bytes(bytes) => bytes.get(at * 4..).map(Place::Bytes),
            };
            let bits = part.ok_or_else(missing)?.scalar(width)?;
            let is_set = |bit: usize| bits >> bit & 1 != 0;
            let named = names.iter().enumerate();
            set.extend(
                named
                    .filter(|(bit, _)| is_set(*bit))
                    .map(|(_, name)| name.clone()),
            );
        }
        Ok(Value::Flags(set))
    }

    /// Reads a pointer and a length.
    fn pointer_pair(&self, place: Place<'_>) -> Lifted<(u64, u64)> {
        let pointer = self.abi.pointer;
        let bytes = pointer.bytes();
        let second = match place {
            Place::Words(words) => words.get(1..).map(Place::Words),
            Place::Bytes(all) => all.get(bytes as usize..).map(Place::Bytes),
        };
        let read = |place: Place<'_>| Ok(pointer.of_word(place.scalar(bytes as u32)?));
        Ok((read(place)?, read(second.ok_or_else(missing)?)?))
    }

    /// Returns how many of so many bytes may be read as text.
    fn text(&self, len: u64) -> u64 {
        len.min(self.limits.text as u64).min(self.bytes as u64)
    }

    fn string(&mut self, place: Place<'_>) -> Lifted<Value> {
        let (address, len) = self.pointer_pair(place)?;
        let tag = self.abi.pointer.utf16_tag();
        let (encoding, units) = Encoding::of(self.abi.encoding, len, tag);
        let len = units.saturating_mul(encoding.unit());
        self.check(address, len, encoding_align(self.abi))?;
        let wanted = self.text(len) / encoding.unit() * encoding.unit();
        let bytes = self.read(address, wanted)?;
        let (text, read) = encoding
            .decode(&bytes, wanted < len)
            .ok_or_else(|| LiftError::new(LiftErrorKind::Encoding { address }))?;
        let more = units - read;
        Ok(Value::String { text, more })
    }

    fn byte_list(&mut self, place: Place<'_>) -> Lifted<Value> {
        let (address, len) = self.pointer_pair(place)?;
        self.check(address, len, 1)?;
        let bytes = self.read(address, self.text(len))?;
        let more = len - bytes.len() as u64;
        Ok(Value::Bytes { bytes, more })
    }

    /// Lifts elements of a list, and counts those that were left out.
    fn elements<T>(
        &mut self,
        place: Place<'_>,
        layout: &Layout,
        mut lift: impl FnMut(&mut Self, Place<'_>) -> Lifted<T>,
    ) -> Lifted<(Vec<T>, u64)> {
        let (address, len) = self.pointer_pair(place)?;
        let Extent { size, align } = layout.extent(self.abi.pointer);
        self.check(address, size.saturating_mul(len), align)?;
        let wanted = len.min(self.limits.elements as u64);
        let mut elements = Vec::new();
        'list: while (elements.len() as u64) < wanted {
            let done = elements.len() as u64;
            let at_once = (CHUNK / size.max(1)).max(1).min(wanted - done);
            let affordable = (self.bytes as u64).checked_div(size).unwrap_or(u64::MAX);
            let count = at_once.min(affordable);
            if count == 0 {
                break;
            }
            let bytes = self.read(address + done * size, count * size)?;
            for at in 0..count as usize {
                let begin = at * size as usize;
                let element = bytes
                    .get(begin..begin + size as usize)
                    .ok_or_else(missing)?;
                match lift(self, Place::Bytes(element)) {
                    Ok(value) => elements.push(value),
                    Err(error) if error.kind() == LiftErrorKind::TooLarge => break 'list,
                    Err(error) => {
                        let at = elements.len();
                        return Err(error.within(format_args!("[{at}]")));
                    }
                }
            }
        }
        let more = len - elements.len() as u64;
        Ok((elements, more))
    }

    fn fixed_list(&mut self, element: &Type, length: u32, place: Place<'_>) -> Lifted<Value> {
        let limit = match is_byte(element) {
            true => self.limits.text,
            false => self.limits.elements,
        };
        let wanted = limit.min(length as usize);
        let mut places = Fields::new(place, self.abi);
        let mut values = Vec::new();
        while values.len() < wanted {
            let place = places.next(&element.layout)?;
            match self.value(element, place) {
                Ok(value) => values.push(value),
                Err(error) if error.kind() == LiftErrorKind::TooLarge => break,
                Err(error) => {
                    let at = values.len();
                    return Err(error.within(format_args!("[{at}]")));
                }
            }
        }
        let more = u64::from(length) - values.len() as u64;
        if !is_byte(element) {
            return Ok(Value::List { values, more });
        }
        let bytes = values.iter().filter_map(|value| match value {
            Value::U8(byte) => Some(*byte),
            _ => None,
        });
        Ok(Value::Bytes {
            bytes: bytes.collect(),
            more,
        })
    }
}

fn is_byte(ty: &Type) -> bool {
    matches!(ty.kind(), TypeKind::U8)
}

/// Returns what strings are aligned to, by the encoding and not by what a string is in.
fn encoding_align(abi: Abi) -> u32 {
    match abi.encoding {
        StringEncoding::Utf8 => 1,
        StringEncoding::Utf16 | StringEncoding::Latin1OrUtf16 => 2,
    }
}

/// Reads a discriminant, and checks that it stands for one of so many cases.
fn case(place: Place<'_>, cases: usize) -> Lifted<usize> {
    let case = place.scalar(discriminant_bytes(cases))? as u32;
    match (case as usize) < cases {
        true => Ok(case as usize),
        false => Err(LiftError::new(LiftErrorKind::Case {
            case,
            of: u32::try_from(cases).unwrap_or(u32::MAX),
        })),
    }
}

fn handle(kind: HandleKind, resource: Option<Arc<str>>, place: Place<'_>) -> Lifted<Value> {
    Ok(Value::Handle {
        kind,
        resource,
        index: place.scalar(4)? as u32,
    })
}
