//! Reads what a component lifts and lowers, and its built-in functions.

use wasmparser::component_types::ComponentValType;
use wasmparser::types::TypesRef;
use wasmparser::{CanonicalFunction, CanonicalOption, ComponentCanonicalSectionReader};

use super::Reading;
use crate::Error;
use crate::component::core::CoreFunction;
use crate::component::core_type::core_type;
use crate::component::function::{ComponentFunction, Direction, Signature, StringEncoding};
use crate::component::scope::{Function, Scope};

/// What the function is called that hands over the results of a task.
const TASK_RETURN: &str = "task.return";

impl<'a> Reading<'a> {
    /// Notes what a section lifts and lowers, and what it has of built-in functions.
    pub(super) fn canonicals(
        &mut self,
        reader: ComponentCanonicalSectionReader<'a>,
    ) -> Result<(), Error> {
        // Lowering adds core functions from here on.
        let mut core_function = self
            .validator
            .types(0)
            .map_or(0, |types| types.function_count());
        let items = reader.into_iter().collect::<Result<Vec<_>, _>>()?;
        let lifts = |item: &&CanonicalFunction| matches!(item, CanonicalFunction::Lift { .. });
        core_function -= (items.len() - items.iter().filter(lifts).count()) as u32;
        for item in items {
            self.canonical(&item, core_function);
            if !lifts(&&item) {
                core_function += 1;
                let known = self.scope().core.functions.len() as u32;
                if known < core_function {
                    self.scope().core.functions.push(CoreFunction::BuiltIn);
                }
            }
        }
        Ok(())
    }

    /// Notes what is lifted or lowered. A function that is lowered has the index
    /// `core_function`.
    fn canonical(&mut self, item: &CanonicalFunction, core_function: u32) {
        let Some(types) = self.validator.types(0) else {
            return;
        };
        let open = self.open.last().copied().unwrap_or_default();
        let (direction, core_function, ty, options) = match item {
            CanonicalFunction::Lift {
                core_func_index,
                type_index,
                options,
            } => {
                let ty = types.component_any_type_at(*type_index).unwrap_func();
                let ty = Signature::Function(ty);
                (Direction::Export, *core_func_index, ty, options)
            }
            CanonicalFunction::Lower {
                func_index,
                options,
            } => {
                let ty = Signature::Function(types.component_function_at(*func_index));
                (Direction::Import, core_function, ty, options)
            }
            CanonicalFunction::TaskReturn { result, options } => {
                let result = result.map(|result| match result {
                    wasmparser::ComponentValType::Primitive(ty) => ComponentValType::Primitive(ty),
                    wasmparser::ComponentValType::Type(index) => {
                        ComponentValType::Type(types.component_any_type_at(index).unwrap_defined())
                    }
                });
                let ty = Signature::TaskReturn(result);
                (Direction::Import, core_function, ty, options)
            }
            _ => {
                for option in options(item) {
                    note_quiet(&mut self.scopes[open], &types, *option);
                }
                return;
            }
        };
        let mut function = ComponentFunction {
            direction,
            interface: None,
            name: None,
            ty,
            encoding: StringEncoding::Utf8,
            memory: None,
            is_async: false,
            has_callback: false,
            params: Box::default(),
            results: Box::default(),
            core: core_type(&types, core_function),
        };
        let core = types[types.core_function_at(core_function)].unwrap_func();
        function.params = core.params().into();
        function.results = core.results().into();
        let scope = &mut self.scopes[open];
        for option in options.iter() {
            note_quiet(scope, &types, *option);
            match *option {
                CanonicalOption::UTF8 => function.encoding = StringEncoding::Utf8,
                CanonicalOption::UTF16 => function.encoding = StringEncoding::Utf16,
                CanonicalOption::CompactUTF16 => function.encoding = StringEncoding::CompactUtf16,
                CanonicalOption::Memory(memory) => function.memory = Some(memory),
                CanonicalOption::Async => function.is_async = true,
                CanonicalOption::Callback(_) => function.has_callback = true,
                CanonicalOption::Gc => function.core = None,
                CanonicalOption::Realloc(_)
                | CanonicalOption::PostReturn(_)
                | CanonicalOption::CoreType(_) => {}
            }
        }
        let number = self.functions.len();
        scope.lifted_or_lowered.push(number);
        match item {
            CanonicalFunction::Lower { func_index, .. } => {
                let (interface, name) = scope.imported(*func_index);
                function.interface = interface.map(str::to_owned);
                function.name = name.map(str::to_owned);
                scope.core.functions.push(CoreFunction::Lowered(number));
            }
            CanonicalFunction::TaskReturn { .. } => {
                function.name = Some(TASK_RETURN.to_owned());
                scope.core.functions.push(CoreFunction::Lowered(number));
            }
            _ => scope.functions.push(Function::Lifted(number)),
        }
        self.functions.push(function);
    }
}

/// Notes the core function of an option that is called where calls out are forbidden.
fn note_quiet(scope: &mut Scope<'_>, types: &TypesRef<'_>, option: CanonicalOption) {
    if let CanonicalOption::Realloc(function) | CanonicalOption::PostReturn(function) = option {
        let ty = core_type(types, function);
        scope.quiet.insert(function, ty);
    }
}

/// Returns the options of a canonical function.
pub(in crate::component) fn options(item: &CanonicalFunction) -> &[CanonicalOption] {
    match item {
        CanonicalFunction::Lift { options, .. }
        | CanonicalFunction::Lower { options, .. }
        | CanonicalFunction::TaskReturn { options, .. }
        | CanonicalFunction::StreamRead { options, .. }
        | CanonicalFunction::StreamWrite { options, .. }
        | CanonicalFunction::FutureRead { options, .. }
        | CanonicalFunction::FutureWrite { options, .. }
        | CanonicalFunction::ErrorContextNew { options }
        | CanonicalFunction::ErrorContextDebugMessage { options } => options,
        _ => &[],
    }
}
