//! Reads what resources are called.

use wasmparser::component_types::{ComponentAnyTypeId, ComponentEntityType};

use super::Reading;

impl Reading<'_> {
    /// Notes what the component that ends here calls resources: by its imports, its exports, and
    /// those of its instances.
    pub(super) fn name_resources(&mut self) {
        let (Some(types), Some(open)) = (self.validator.types(0), self.open.last()) else {
            return;
        };
        let scope = &self.scopes[*open];
        let imports = scope.imported_types.iter();
        let imports =
            imports.filter_map(|name| Some((*name, types.component_item_for_import(name)?)));
        let exports = scope.exports.iter().map(|item| item.name);
        let exports =
            exports.filter_map(|name| Some((name, types.component_item_for_export(name)?)));
        let instances = 0..types.component_instance_count();
        let instances = instances.map(|index| &types[types.component_instance_at(index)]);
        let of_instances = instances.flat_map(|instance| &instance.exports);
        let of_instances = of_instances.map(|(name, item)| (name.as_str(), item));
        for (name, item) in imports.chain(exports).chain(of_instances) {
            if let ComponentEntityType::Type {
                created: ComponentAnyTypeId::Resource(resource),
                ..
            } = item.ty
            {
                let named = self.resources.entry(resource.resource());
                named.or_insert_with(|| name.to_owned());
            }
        }
    }
}
