//! Reads a component: validates it and notes where the items of each index space come
//! from.

mod alias;
mod boundary;
mod canonical;
mod instance;
mod resources;

pub(super) use canonical::options;

use std::collections::HashMap;
use std::ops::Range;

use wasmparser::component_types::ResourceId;
use wasmparser::{Encoding, Parser, Payload, ValidPayload, Validator, WasmFeatures};

use super::function::ComponentFunction;
use super::scope::{Names, Scope};
use crate::Error;

/// What was read of a component, apart from its core modules.
pub(super) struct Reading<'a> {
    validator: Validator,
    pub(super) scopes: Vec<Scope<'a>>,
    /// The scopes that are being read, the innermost last.
    open: Vec<usize>,
    in_module: bool,
    /// The bytes of each core module.
    pub(super) modules: Vec<Range<usize>>,
    pub(super) functions: Vec<ComponentFunction>,
    /// The modules and components that are used as values, and by which names.
    pub(super) escaped_modules: Vec<(usize, &'a str)>,
    pub(super) escaped_scopes: Vec<(usize, &'a str)>,
    pub(super) types: Option<wasmparser::types::Types>,
    /// The names of resources.
    pub(super) resources: HashMap<ResourceId, String>,
}

impl<'a> Reading<'a> {
    pub(super) fn read(bytes: &'a [u8]) -> Result<Self, Error> {
        let mut reading = Self {
            validator: Validator::new_with_features(WasmFeatures::all()),
            scopes: Vec::new(),
            open: Vec::new(),
            in_module: false,
            modules: Vec::new(),
            functions: Vec::new(),
            escaped_modules: Vec::new(),
            escaped_scopes: Vec::new(),
            types: None,
            resources: HashMap::new(),
        };
        let mut parser = Parser::new(0);
        parser.set_features(WasmFeatures::all());
        for payload in parser.parse_all(bytes) {
            let payload = payload?;
            // The parser takes the end of the file for that of what is nested at its end.
            if let Payload::ModuleSection {
                unchecked_range: nested,
                ..
            }
            | Payload::ComponentSection {
                unchecked_range: nested,
                ..
            } = &payload
                && nested.end > bytes.len()
            {
                return Err(Error::Invalid {
                    offset: nested.start,
                    reason: "unexpected end of what is nested here".to_owned(),
                });
            }
            reading.payload(payload)?;
        }
        let names = Names::find(&reading.scopes, reading.functions.len());
        for (function, name) in reading.functions.iter_mut().zip(names) {
            if let Some((interface, name)) = name {
                function.interface = interface.map(str::to_owned);
                function.name = Some(name.to_owned());
            }
        }
        Ok(reading)
    }

    fn payload(&mut self, payload: Payload<'a>) -> Result<(), Error> {
        if let Payload::Version {
            encoding: Encoding::Module,
            ..
        } = payload
            && self.open.is_empty()
        {
            return Err(Error::NotComponent);
        }
        if let Payload::End(_) = payload
            && !self.in_module
        {
            self.name_resources();
        }
        match self.validator.payload(&payload)? {
            // Bodies are validated in parallel, with the modules.
            ValidPayload::Func(..) | ValidPayload::Parser(_) => {}
            ValidPayload::Ok => {}
            ValidPayload::End(types) => self.types = Some(types),
        }
        if self.in_module {
            self.in_module = !matches!(payload, Payload::End(_));
            return Ok(());
        }
        match payload {
            Payload::Version { encoding, .. } => match encoding {
                Encoding::Module => self.in_module = true,
                Encoding::Component => {
                    self.scopes.push(Scope::default());
                    self.open.push(self.scopes.len() - 1);
                }
            },
            Payload::End(_) => {
                let inner = self.open.pop();
                if let Some(outer) = self.open.last() {
                    self.scopes[*outer].components.push(inner);
                }
            }
            Payload::ModuleSection {
                unchecked_range, ..
            } => {
                let module = self.modules.len();
                self.modules.push(unchecked_range);
                self.scope().modules.push(Some(module));
            }
            Payload::ComponentImportSection(reader) => self.imports(reader)?,
            Payload::ComponentExportSection(reader) => self.exports(reader)?,
            Payload::ComponentAliasSection(reader) => {
                for alias in reader {
                    self.alias(alias?);
                }
            }
            Payload::InstanceSection(reader) => {
                for instance in reader {
                    self.core_instance(&instance?);
                }
            }
            Payload::ComponentInstanceSection(reader) => {
                for instance in reader {
                    self.instance(instance?);
                }
            }
            Payload::ComponentCanonicalSection(reader) => self.canonicals(reader)?,
            _ => {}
        }
        Ok(())
    }

    /// Returns the innermost scope that is being read.
    fn scope(&mut self) -> &mut Scope<'a> {
        let open = self.open.last().copied().unwrap_or_default();
        &mut self.scopes[open]
    }
}
