//! Reads instances: of components, and of core modules.

use wasmparser::ComponentInstance;

use super::Reading;
use crate::component::core::CoreInstance;
use crate::component::scope::{Instance, Item};

impl<'a> Reading<'a> {
    /// Notes what the next core instance is of.
    pub(super) fn core_instance(&mut self, instance: &wasmparser::Instance<'a>) {
        let scope = self.scope();
        let module = |module| scope.modules[module as usize];
        let instance = CoreInstance::new(instance, module);
        if let CoreInstance::Instantiated(module, _) = instance {
            scope.core_instantiations.push(module);
        }
        scope.core.instances.push(instance);
    }

    /// Notes what the next instance is of, and what it is given.
    pub(super) fn instance(&mut self, instance: ComponentInstance<'a>) {
        let items = |items: &mut dyn Iterator<Item = Item<'a>>| items.collect::<Vec<_>>();
        let (made, items) = match &instance {
            ComponentInstance::Instantiate {
                component_index,
                args,
            } => {
                let component = self.scope().components[*component_index as usize];
                let items = items(&mut args.iter().map(|arg| Item {
                    name: arg.name,
                    kind: arg.kind,
                    index: arg.index,
                }));
                self.scope().instantiations.push(component);
                (
                    Instance::Instantiated(component, items.clone().into()),
                    items,
                )
            }
            ComponentInstance::FromExports(exports) => {
                let items = items(&mut exports.iter().map(|export| Item {
                    name: export.name.name,
                    kind: export.kind,
                    index: export.index,
                }));
                (Instance::Made(items.clone().into()), items)
            }
        };
        for item in &items {
            self.escape(item);
        }
        self.scope().instances.push(made);
    }
}
