//! Reads what a component imports and exports, and what is passed on as a value.

use wasmparser::{
    ComponentExportSectionReader, ComponentExternalKind, ComponentImportSectionReader,
    ComponentTypeRef,
};

use super::Reading;
use crate::Error;
use crate::component::interface;
use crate::component::scope::{Function, Instance, Item};

impl<'a> Reading<'a> {
    /// Notes what a section imports.
    pub(super) fn imports(
        &mut self,
        reader: ComponentImportSectionReader<'a>,
    ) -> Result<(), Error> {
        for import in reader.into_iter_with_offsets() {
            let (offset, import) = import?;
            let name = import.name.name;
            reserved("import of", name, offset)?;
            let scope = self.scope();
            match import.ty {
                ComponentTypeRef::Module(_) => scope.modules.push(None),
                ComponentTypeRef::Component(_) => scope.components.push(None),
                ComponentTypeRef::Func(_) => scope.functions.push(Function::Import(name)),
                ComponentTypeRef::Instance(_) => {
                    scope.instances.push(Instance::Import(name));
                }
                ComponentTypeRef::Type(_) => scope.imported_types.push(name),
                ComponentTypeRef::Value(_) => {}
            }
        }
        Ok(())
    }

    /// Notes what a section exports.
    pub(super) fn exports(
        &mut self,
        reader: ComponentExportSectionReader<'a>,
    ) -> Result<(), Error> {
        for export in reader.into_iter_with_offsets() {
            let (offset, export) = export?;
            let name = export.name.name;
            reserved("export", name, offset)?;
            let item = Item {
                name,
                kind: export.kind,
                index: export.index,
            };
            self.escape(&item);
            let scope = self.scope();
            scope.exports.push(item);
            scope.copy(item.kind, item.index);
        }
        Ok(())
    }

    /// Notes that something is used as a value.
    pub(super) fn escape(&mut self, item: &Item<'a>) {
        let index = item.index as usize;
        match item.kind {
            ComponentExternalKind::Module => {
                if let Some(module) = self.scope().modules[index] {
                    self.escaped_modules.push((module, item.name));
                }
            }
            ComponentExternalKind::Component => {
                if let Some(inner) = self.scope().components[index] {
                    self.escaped_scopes.push((inner, item.name));
                }
            }
            _ => {}
        }
    }
}

/// Refuses names that are kept for the host.
fn reserved(what: &'static str, name: &str, offset: usize) -> Result<(), Error> {
    if name.starts_with(interface::PREFIX) {
        return Err(Error::Reserved {
            what,
            name: name.to_owned(),
            offset,
        });
    }
    Ok(())
}
