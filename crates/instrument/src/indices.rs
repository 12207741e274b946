//! Finds the indices of functions outside bodies, which change as functions move up and
//! imports get shims: in exports, tables' contents, globals, segments and the start.

use std::collections::HashSet;

use wasmparser::{
    BinaryReader, ConstExpr, ElementItems, ElementKind, ElementSectionReader, GlobalSectionReader,
    TableInit, TableSectionReader, WasmFeatures,
};

use crate::Error;
use crate::encoding::{self, opcode};
use crate::module::id;
use crate::plan::Plan;

/// Indices within a section that become others: their file offsets and new values, in
/// the order of the offsets.
pub(crate) type Patches = Vec<(usize, u32)>;

/// The indices of functions outside bodies that become others.
#[derive(Debug)]
pub(crate) struct Moved {
    /// By the section's identifier.
    pub(crate) patches: Vec<(u8, Patches)>,
    /// The functions that bodies may refer to, because something here does, although no
    /// export declares them.
    pub(crate) declared: HashSet<u32>,
}

impl Moved {
    /// Finds all there are.
    pub(crate) fn find(plan: &Plan<'_, '_>) -> Result<Self, Error> {
        let mut finder = Finder {
            plan,
            patches: Patches::new(),
            declared: HashSet::new(),
        };
        let mut patches = Vec::new();
        for section in &plan.module.sections {
            let contents = &plan.module.bytes[section.contents.clone()];
            let start = section.contents.start;
            let reader = BinaryReader::new_features(contents, start, WasmFeatures::all());
            match section.id {
                id::TABLE => finder.tables(TableSectionReader::new(reader)?)?,
                id::GLOBAL => finder.globals(GlobalSectionReader::new(reader)?)?,
                id::ELEMENT => finder.elements(ElementSectionReader::new(reader)?)?,
                id::EXPORT => finder.exports(reader)?,
                id::START => finder.start(reader)?,
                _ => continue,
            }
            patches.push((section.id, std::mem::take(&mut finder.patches)));
        }
        Ok(Self {
            patches,
            declared: finder.declared,
        })
    }
}

struct Finder<'p, 'm, 'a> {
    plan: &'p Plan<'m, 'a>,
    patches: Patches,
    declared: HashSet<u32>,
}

impl Finder<'_, '_, '_> {
    /// Notes the reference to a function at file offset `offset`.
    fn reference(&mut self, offset: usize, index: u32) {
        if self.plan.needs_declaration(index) {
            self.declared.insert(index);
        }
        self.patches.push((offset, self.plan.referred(index)));
    }

    fn expression(&mut self, expression: &ConstExpr<'_>) -> Result<(), Error> {
        let bytes = self.plan.module.bytes;
        for operator in expression.get_operators_reader().into_iter_with_offsets() {
            let (_, offset) = operator?;
            if bytes[offset] == opcode::REF_FUNC {
                let (index, _) = encoding::read_unsigned(&bytes[offset + 1..]);
                self.reference(offset + 1, index);
            }
        }
        Ok(())
    }

    fn tables(&mut self, reader: TableSectionReader<'_>) -> Result<(), Error> {
        for table in reader {
            if let TableInit::Expr(expression) = table?.init {
                self.expression(&expression)?;
            }
        }
        Ok(())
    }

    fn globals(&mut self, reader: GlobalSectionReader<'_>) -> Result<(), Error> {
        for global in reader {
            self.expression(&global?.init_expr)?;
        }
        Ok(())
    }

    fn elements(&mut self, reader: ElementSectionReader<'_>) -> Result<(), Error> {
        for element in reader {
            let element = element?;
            if let ElementKind::Active { offset_expr, .. } = element.kind {
                self.expression(&offset_expr)?;
            }
            match element.items {
                ElementItems::Functions(indices) => {
                    for index in indices.into_iter_with_offsets() {
                        let (offset, index) = index?;
                        self.reference(offset, index);
                    }
                }
                ElementItems::Expressions(_, expressions) => {
                    for expression in expressions {
                        self.expression(&expression?)?;
                    }
                }
            }
        }
        Ok(())
    }

    fn exports(&mut self, mut reader: BinaryReader<'_>) -> Result<(), Error> {
        const FUNCTION: u8 = 0x00;
        const EXACT_FUNCTION: u8 = 0x20;
        for _ in 0..reader.read_var_u32()? {
            reader.skip_string()?;
            let kind = reader.read_u8()?;
            let offset = reader.original_position();
            let index = reader.read_var_u32()?;
            if matches!(kind, FUNCTION | EXACT_FUNCTION) {
                self.patches.push((offset, self.plan.exported(index)));
            }
        }
        Ok(())
    }

    /// What starts the module is called, so a probed import is called through its shim.
    fn start(&mut self, mut reader: BinaryReader<'_>) -> Result<(), Error> {
        let offset = reader.original_position();
        let index = reader.read_var_u32()?;
        self.patches.push((offset, self.plan.called(index)));
        Ok(())
    }
}
