//! Reads aliases: items of instances, and of the components around.

use wasmparser::{ComponentAlias, ComponentExternalKind, ComponentOuterAliasKind, ExternalKind};

use super::Reading;
use crate::component::core::CoreFunction;
use crate::component::scope::{Function, Instance};

impl<'a> Reading<'a> {
    /// Notes what the next item of an index space stands for.
    pub(super) fn alias(&mut self, alias: ComponentAlias<'a>) {
        match alias {
            ComponentAlias::InstanceExport {
                kind,
                instance_index,
                name,
            } => {
                let scope = self.scope();
                match kind {
                    ComponentExternalKind::Module => scope.modules.push(None),
                    ComponentExternalKind::Component => scope.components.push(None),
                    ComponentExternalKind::Func => {
                        scope.functions.push(Function::Of(instance_index, name));
                    }
                    ComponentExternalKind::Instance => {
                        scope.instances.push(Instance::Of(name));
                    }
                    ComponentExternalKind::Value | ComponentExternalKind::Type => {}
                }
            }
            ComponentAlias::CoreInstanceExport {
                kind,
                instance_index,
                name,
            } => match kind {
                ExternalKind::Memory => {
                    let known = self.scope().memories.len() as u32;
                    // The section is validated, so what it adds is known already.
                    let types = self.validator.types(0);
                    let memory = types.map(|types| types.memory_at(known));
                    self.scope().memories.extend(memory);
                }
                ExternalKind::Func | ExternalKind::FuncExact => {
                    let function = CoreFunction::Of(instance_index, name);
                    self.scope().core.functions.push(function);
                }
                ExternalKind::Table => self.scope().core.tables.push((instance_index, name)),
                ExternalKind::Global | ExternalKind::Tag => {}
            },
            ComponentAlias::Outer { kind, count, index } => {
                let outer = self.open[self.open.len() - 1 - count as usize];
                let index = index as usize;
                match kind {
                    ComponentOuterAliasKind::CoreModule => {
                        let module = self.scopes[outer].modules[index];
                        self.scope().modules.push(module);
                    }
                    ComponentOuterAliasKind::Component => {
                        let component = self.scopes[outer].components[index];
                        self.scope().components.push(component);
                    }
                    ComponentOuterAliasKind::CoreType | ComponentOuterAliasKind::Type => {}
                }
            }
        }
    }
}
