//! A host of rewritten components that writes down what it hears.

use wasmscope_instrument::component::deferred::{MEMORY, Records};
use wasmscope_instrument::component::interface::{LOOK, import_name};
use wasmscope_instrument::hooks::Hook;
use wasmtime::StoreContextMut;
use wasmtime::component::{Linker, WasmList};

/// What a host hears, as words.
#[derive(Default)]
pub(crate) struct Heard {
    /// The instantiation of each attached instance.
    pub(crate) attached: Vec<u32>,
    pub(crate) events: Vec<String>,
    pub(crate) staged: Vec<u64>,
    /// The bytes of memory that were seen each time.
    pub(crate) looks: Vec<usize>,
    /// The memories that are not the first, each time: the index, and the bytes.
    pub(crate) others: Vec<(u32, usize)>,
    /// Whether it asks to look.
    pub(crate) look: bool,
}

impl Heard {
    pub(crate) fn event(&mut self, event: String) {
        self.events.push(event);
    }
}

pub(crate) type Host<'a> = StoreContextMut<'a, Heard>;

/// Defines the host's functions.
pub(crate) fn define(linker: &mut Linker<Heard>, suffix: &str) -> wasmtime::Result<()> {
    let mut host = linker.instance(&import_name(suffix))?;
    host.func_wrap(
        "attach",
        |mut store: Host<'_>, (key, number, events): (u64, u32, WasmList<u8>)| {
            assert_eq!(key, 7);
            let events = events.as_le_slice(&store);
            assert_eq!(events.len(), MEMORY as usize);
            assert!(events.iter().all(|byte| *byte == 0), "nothing is kept yet");
            let heard = store.data_mut();
            heard.attached.push(number);
            let look = if heard.look { LOOK } else { 0 };
            Ok(((heard.attached.len() as u32 - 1) | look,))
        },
    )?;
    macro_rules! hook {
        ($($number:literal: ($($value:ident),*) ($($ty:ty),*);)*) => {$(
            host.func_wrap(
                concat!("before", $number),
                |mut store: Host<'_>, (instance, probe, $($value),*): (u32, u32, $($ty),*)| {
                    store.data_mut().before(instance, probe, &[$($value),*]);
                    Ok(())
                },
            )
            ?;
            host.func_wrap(
                concat!("after", $number),
                |mut store: Host<'_>, ($($value,)*): ($($ty,)*)| {
                    store.data_mut().after(&[$($value),*]);
                    Ok(())
                },
            )
            ?;
        )*};
    }
    hook! {
        0: () ();
        1: (a) (u64);
        2: (a, b) (u64, u64);
        3: (a, b, c) (u64, u64, u64);
        4: (a, b, c, d) (u64, u64, u64, u64);
    }
    host.func_wrap(
        "stage4",
        |mut store: Host<'_>, (a, b, c, d): (u64, u64, u64, u64)| {
            store.data_mut().staged.extend([a, b, c, d]);
            Ok(())
        },
    )?;
    host.func_wrap("tail", |mut store: Host<'_>, ()| {
        store.data_mut().event("tail".to_owned());
        Ok(())
    })?;
    host.func_wrap("unwind", |mut store: Host<'_>, ()| {
        store.data_mut().event("unwind".to_owned());
        Ok(())
    })?;
    host.func_wrap(
        "deferred",
        |mut store: Host<'_>, (records, lost): (WasmList<u8>, u64)| {
            let bytes = records.as_le_slice(&store).to_vec();
            let heard = store.data_mut();
            heard.event(format!("deferred, {lost} lost"));
            for record in Records::new(&bytes) {
                let record = record?;
                match record.hook {
                    Hook::Before(_) => heard.before(record.instance, record.probe, record.values()),
                    Hook::After(_) => heard.after(record.values()),
                    Hook::Stage => heard.staged.extend(record.values()),
                    hook => heard.event(hook.to_string()),
                }
            }
            heard.event("now".to_owned());
            Ok(())
        },
    )?;
    host.func_wrap(
        "memory",
        |mut store: Host<'_>, (_, index, first, len): (u64, u32, WasmList<u8>, u64)| {
            assert_eq!(first.as_le_slice(&store).len() as u64, len.min(1));
            store.data_mut().others.push((index, len as usize));
            Ok(())
        },
    )?;
    host.func_wrap(
        "globals",
        |_: Host<'_>, (_,): (WasmList<u8>,)| -> wasmtime::Result<()> {
            unreachable!("nobody asks for globals")
        },
    )?;
    host.func_wrap(
        "look",
        |mut store: Host<'_>, (_, first, len): (u64, WasmList<u8>, u64)| {
            assert_eq!(first.as_le_slice(&store).len() as u64, len.min(1));
            store.data_mut().looks.push(len as usize);
            Ok(())
        },
    )?;
    Ok(())
}

impl Heard {
    fn before(&mut self, instance: u32, probe: u32, values: &[u64]) {
        self.staged.extend(values);
        let values = std::mem::take(&mut self.staged);
        self.event(format!(
            "+{}.{probe} {values:?}",
            self.attached[instance as usize]
        ));
    }

    fn after(&mut self, values: &[u64]) {
        self.staged.extend(values);
        let values = std::mem::take(&mut self.staged);
        self.event(format!("- {values:?}"));
    }
}
