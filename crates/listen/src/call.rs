//! One call as its listener sees it.
//!
//! A [`Call`] is one reference, made anew for each event and never kept. Whatever there is
//! to know stays behind [`Site`], which the binding implements, until a listener asks: so a
//! listener pays for what it looks at.

use std::fmt;

use crate::component::{self, InstanceMemory, LiftError, Limits};
use crate::definition::Definition;
use crate::instance::Instance;
use crate::parent::{Parent, Parents};
use crate::stack::{Stack, StackSource};
use crate::task::TaskId;
use crate::values::Values;

/// Knows what surrounds an event: whoever drives listeners implements it.
pub trait Site {
    /// Returns what is called.
    fn definition(&self) -> &Definition;

    /// Returns the words of the parameters, as [`Values::new`] reads them.
    fn params(&self) -> &[u64];

    /// Returns the instance whose code is called: for an imported function, the importer.
    fn instance(&self) -> &dyn Instance;

    /// Returns the frames below the call. Asked only when a listener wants the stack, so
    /// this, or the first [`StackSource::frames`], is the time to walk.
    fn stack(&self) -> &dyn StackSource;

    /// Returns the open listened call around this one (`None`), or around the one with
    /// the given key, on the same execution stack.
    fn parent(&self, of: Option<u64>) -> Option<Parent<'_>>;

    /// Tells whether the event is told later than it happened.
    fn is_deferred(&self) -> bool {
        false
    }

    /// Returns the task that the event is of, where that is known.
    fn task(&self) -> Option<TaskId> {
        None
    }
}

/// One call of a function with a listener.
#[derive(Clone, Copy)]
pub struct Call<'a> {
    pub(crate) site: &'a dyn Site,
}

impl<'a> Call<'a> {
    /// Makes a call from what surrounds it.
    #[must_use]
    #[inline]
    pub fn new(site: &'a dyn Site) -> Self {
        Self { site }
    }

    /// Returns what is called.
    #[must_use]
    #[inline]
    pub fn definition(&self) -> &'a Definition {
        self.site.definition()
    }

    /// Returns the parameters as they were at the call, in its closes too.
    #[must_use]
    #[inline]
    pub fn params(&self) -> Values<'a> {
        Values::new(&self.site.definition().params, self.site.params())
    }

    /// Lifts the parameters of a component function from the words and the memory that
    /// its core side has, or `None` when it is no component function.
    ///
    /// Memory is read as it is now, so this belongs into `before`.
    #[must_use]
    pub fn component_params(
        &self,
        limits: &Limits,
    ) -> Option<Result<Vec<component::Value>, LiftError>> {
        let function = self.definition().component.as_ref()?;
        let memory = InstanceMemory::new(self.instance(), 0);
        Some(function.lift_params(self.site.params(), &memory, limits))
    }

    /// Lifts the results of a component function that returns: one, or none.
    ///
    /// `results` are those of the `after` that is running. `None` when it is no component
    /// function, and where the results do not come with the return, as
    /// [`ComponentFunction::lift_results`] says.
    ///
    /// [`ComponentFunction::lift_results`]: component::ComponentFunction::lift_results
    #[must_use]
    pub fn component_results(
        &self,
        results: Values<'_>,
        limits: &Limits,
    ) -> Option<Result<Vec<component::Value>, LiftError>> {
        let function = self.definition().component.as_ref()?;
        let memory = InstanceMemory::new(self.instance(), 0);
        function
            .lift_results(self.site.params(), results.words(), &memory, limits)
            .transpose()
    }

    /// Tells whether the event is told later than it happened, because the engine lets
    /// nothing be called there: within a component's `realloc` and `post-return`.
    ///
    /// Then values are as they were, but memories, globals and the stack as they are now. So
    /// are the parents: in a store whose tasks take turns, those may be of another task.
    #[must_use]
    #[inline]
    pub fn is_deferred(&self) -> bool {
        self.site.is_deferred()
    }

    /// Returns the task that calls or returns, in a store that runs components.
    ///
    /// `None` where the engine keeps no tasks, and where it is not the task itself that tells
    /// the event: what a trap or a dropped future ended, and what is
    /// [deferred](Self::is_deferred).
    #[must_use]
    pub fn task(&self) -> Option<TaskId> {
        self.site.task()
    }

    /// Returns the instance whose code is called: for an imported function, the importer.
    ///
    /// For a component function, its memory 0 is the one that the function is lifted or
    /// lowered with.
    #[must_use]
    #[inline]
    pub fn instance(&self) -> &'a dyn Instance {
        self.site.instance()
    }

    /// Walks the stack, from the called function down. Each call starts over.
    #[must_use]
    #[inline]
    pub fn stack(&self) -> Stack<'a> {
        Stack::new(self.site.stack())
    }

    /// Visits the open listened calls around this one, on the same execution stack,
    /// newest first.
    #[must_use]
    #[inline]
    pub fn parents(&self) -> Parents<'a> {
        Parents::new(self.site)
    }

    /// Returns the nearest open listened call around this one.
    #[must_use]
    #[inline]
    pub fn parent(&self) -> Option<Parent<'a>> {
        self.site.parent(None)
    }
}

impl fmt::Debug for Call<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{:?}", self.definition(), self.params())
    }
}
