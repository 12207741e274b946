//! From recorded calling contexts to a profile's stacks: names them, and decides
//! what is shown of the host.
//!
//! A guest that calls the host looks like this on the stack, newest first, and so
//! in the profile:
//!
//! ```text
//!   recorded                           shown
//!   host frames (or one HostRun)       host frames, where they may be shown
//!   wasm-to-host trampoline            the import that was called, by its name
//!   guest function, at the call        guest function, at the call
//! ```
//!
//! The import's name comes from the call instruction in the guest's own bytes, so
//! it says nothing about the host that the guest does not know.

use crate::code::{Code, Place, Resolved, ResolvedFunction};
use crate::collector::{CodeId, Collected, Node, NodeFrame, NodeId};
use crate::host_names::HostNames;
use crate::plain::plain;
use crate::selection::Selection;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use wasmscope_profile::{
    Category, Function, Line, Location, LocationHandle, Mapping, MappingHandle, MappingKind,
    Profile, StackHandle,
};

/// A host call, as a marker shows it.
pub(crate) struct HostCall {
    pub(crate) name: String,
    pub(crate) category: Category,
    pub(crate) stack: Option<StackHandle>,
}

/// The stacks of one profile in the making.
pub(crate) struct Stacks<'a> {
    collected: &'a Collected,
    selection: &'a Selection,
    /// The name that each guest is shown under; none for one that is not.
    names: Vec<Option<String>>,
    resolved: Vec<HashMap<Place, Resolved>>,
    mappings: HashMap<CodeId, MappingHandle>,
    locations: HashMap<(CodeId, Place), LocationHandle>,
    shown: HashMap<NodeId, Option<StackHandle>>,
    host_names: HostNames,
}

impl<'a> Stacks<'a> {
    /// Resolves every context that `collected` has, guest by guest.
    pub(crate) fn new(collected: &'a Collected, selection: &'a Selection) -> Self {
        let mut places: Vec<BTreeSet<Place>> = vec![BTreeSet::new(); collected.codes.len()];
        for node in &collected.nodes {
            if let NodeFrame::Guest { code, place } = node.frame
                && let Some(places) = places.get_mut(code as usize)
            {
                places.insert(place);
            }
        }
        let resolved = collected
            .codes
            .iter()
            .zip(&places)
            .map(|(code, places)| code.resolve(places))
            .collect();
        let shown = |code: &Arc<Code>| match code.hidden {
            true => None,
            false => selection.guest_name(&code.names()),
        };
        Self {
            collected,
            selection,
            names: collected.codes.iter().map(shown).collect(),
            resolved,
            mappings: HashMap::new(),
            locations: HashMap::new(),
            shown: HashMap::new(),
            host_names: HostNames::default(),
        }
    }

    /// Tells whether a guest that is shown is on the stack of `node`.
    pub(crate) fn has_guest(&self, node: Option<NodeId>) -> bool {
        let mut at = node;
        while let Some(node) = at.and_then(|id| self.node(id)) {
            if let NodeFrame::Guest { code, .. } = node.frame
                && self.shows_guest(code)
            {
                return true;
            }
            at = node.parent;
        }
        false
    }

    /// Returns the stack to show for a sample.
    pub(crate) fn of_sample(
        &mut self,
        profile: &mut Profile,
        node: Option<NodeId>,
    ) -> Option<StackHandle> {
        let stack = node.and_then(|node| self.show(profile, node));
        let newest = node.and_then(|node| self.node(node)).map(|node| node.frame);
        match newest {
            // On its way between guest and host, or in an entry trampoline.
            Some(NodeFrame::Guest { code, place })
                if matches!(self.resolved_at(code, place), Some(Resolved::Trampoline)) =>
            {
                if !self.shows_guest(code) {
                    return stack.or_else(|| self.host_only(profile));
                }
                let callee = node.and_then(|node| self.callee(profile, node));
                let location = plain(profile, "[wasmtime trampoline]", Category::Engine);
                let parent = match callee {
                    Some(callee) => Some(profile.add_stack(stack, callee)),
                    None => stack,
                };
                Some(profile.add_stack(parent, location))
            }
            _ => stack.or_else(|| self.host_only(profile)),
        }
    }

    /// Returns what a marker shows for a host call whose caller's stack ends at
    /// `node`.
    pub(crate) fn host_call(&mut self, profile: &mut Profile, node: Option<NodeId>) -> HostCall {
        let stack = node.and_then(|node| self.show(profile, node));
        let callee = node
            .and_then(|node| self.newest_function(node))
            .and_then(|caller| self.called_from(caller));
        let (name, category) = callee.unwrap_or_else(|| ("host call".to_owned(), Category::Host));
        HostCall {
            name,
            category,
            stack,
        }
    }

    /// Time in the host of which no frame is shown.
    fn host_only(&self, profile: &mut Profile) -> Option<StackHandle> {
        let category = if self.selection.is_guest_safe() {
            Category::Opaque
        } else {
            Category::Host
        };
        let location = plain(profile, "(host)", category);
        Some(profile.add_stack(None, location))
    }

    fn node(&self, node: NodeId) -> Option<Node> {
        self.collected.nodes.get(node as usize).copied()
    }

    fn resolved_at(&self, code: CodeId, place: Place) -> Option<&Resolved> {
        self.resolved.get(code as usize)?.get(&place)
    }

    fn shows_guest(&self, code: CodeId) -> bool {
        self.name_of(code).is_some()
    }

    /// Returns the name that a guest is shown under, if it is.
    fn name_of(&self, code: CodeId) -> Option<&String> {
        self.names.get(code as usize)?.as_ref()
    }

    /// Returns the stack that shows `node`, without recursion: stacks may be deep.
    fn show(&mut self, profile: &mut Profile, node: NodeId) -> Option<StackHandle> {
        let mut unknown = Vec::new();
        let mut at = Some(node);
        let mut stack = None;
        while let Some(node) = at {
            if let Some(&shown) = self.shown.get(&node) {
                stack = shown;
                break;
            }
            unknown.push(node);
            at = self.node(node).and_then(|node| node.parent);
        }
        for node in unknown.into_iter().rev() {
            stack = self.show_on(profile, node, stack);
            self.shown.insert(node, stack);
        }
        stack
    }

    /// Returns the stack of `node`, given that of its parent.
    fn show_on(
        &mut self,
        profile: &mut Profile,
        id: NodeId,
        parent: Option<StackHandle>,
    ) -> Option<StackHandle> {
        let node = self.node(id)?;
        match node.frame {
            NodeFrame::Guest { code, place } => {
                if !self.shows_guest(code) {
                    return parent;
                }
                match self.guest_location(profile, code, place) {
                    Some(location) => Some(profile.add_stack(parent, location)),
                    // A trampoline between two frames that are shown.
                    None => parent,
                }
            }
            NodeFrame::HostRun => match self.callee(profile, id) {
                Some(callee) => Some(profile.add_stack(parent, callee)),
                None => parent,
            },
            NodeFrame::Host {
                pc,
                is_return_address,
            } => {
                let parent = match self.callee(profile, id) {
                    Some(callee) => Some(profile.add_stack(parent, callee)),
                    None => parent,
                };
                if self.selection.is_guest_safe() {
                    return parent;
                }
                let name = self.host_names.location(profile, pc, is_return_address);
                Some(profile.add_stack(parent, name))
            }
            NodeFrame::Cut => {
                let location = plain(profile, "(stack cut)", Category::Lost);
                Some(profile.add_stack(parent, location))
            }
        }
    }

    /// Returns the frame that says what the guest called, if `id` is the first frame
    /// of the host above a guest that is shown.
    fn callee(&mut self, profile: &mut Profile, id: NodeId) -> Option<LocationHandle> {
        let caller = self.calling_guest(id)?;
        let (name, category) = self
            .called_from(caller)
            .unwrap_or_else(|| ("(host)".to_owned(), Category::Host));
        Some(plain(profile, &name, category))
    }

    /// Returns the guest function that called into the host run or trampoline that
    /// `id` is the first frame of.
    fn calling_guest(&self, id: NodeId) -> Option<NodeId> {
        self.newest_function(self.node(id)?.parent?)
    }

    /// Returns `id`, or the guest function that the trampolines from `id` on were
    /// entered from; `None` when that is the host, or may not be shown.
    fn newest_function(&self, id: NodeId) -> Option<NodeId> {
        let mut at = Some(id);
        while let Some(id) = at {
            let node = self.node(id)?;
            match node.frame {
                NodeFrame::Guest { code, place } => match self.resolved_at(code, place)? {
                    Resolved::Trampoline => at = node.parent,
                    Resolved::Function(_) => return self.shows_guest(code).then_some(id),
                },
                _ => return None,
            }
        }
        None
    }

    /// Returns the name and category of what the guest function at `id` calls.
    fn called_from(&self, id: NodeId) -> Option<(String, Category)> {
        let NodeFrame::Guest { code, place } = self.node(id)?.frame else {
            return None;
        };
        let Some(Resolved::Function(function)) = self.resolved_at(code, place) else {
            return None;
        };
        if let Some(import) = &function.import {
            let category = if import.module.starts_with("wasi") {
                Category::Wasi
            } else {
                Category::Host
            };
            return Some((format!("{}::{}", import.module, import.name), category));
        }
        let operator = function.operator?;
        // A call through a table or a reference may reach the host as well as a
        // libcall that checks a signature: not known, so not said.
        (!operator.is_call()).then(|| (format!("[{}]", operator.name()), Category::Engine))
    }

    fn guest_location(
        &mut self,
        profile: &mut Profile,
        code: CodeId,
        place: Place,
    ) -> Option<LocationHandle> {
        if let Some(&known) = self.locations.get(&(code, place)) {
            return Some(known);
        }
        let function = match self.resolved_at(code, place)? {
            Resolved::Function(function) => function.clone(),
            Resolved::Trampoline => return None,
        };
        let mapping = self.mapping(profile, code)?;
        let location = add_location(profile, mapping, &function);
        self.locations.insert((code, place), location);
        Some(location)
    }

    fn mapping(&mut self, profile: &mut Profile, id: CodeId) -> Option<MappingHandle> {
        if let Some(&known) = self.mappings.get(&id) {
            return Some(known);
        }
        let code = self.collected.codes.get(id as usize)?;
        let mapping = profile.add_mapping(Mapping {
            name: self.name_of(id)?.clone(),
            file: None,
            build_id: None,
            size: code.size.unwrap_or(0),
            kind: MappingKind::Guest,
        });
        self.mappings.insert(id, mapping);
        Some(mapping)
    }
}

fn add_location(
    profile: &mut Profile,
    mapping: MappingHandle,
    function: &ResolvedFunction,
) -> LocationHandle {
    let lines = function
        .frames
        .iter()
        .map(|frame| Line {
            function: profile.add_function(Function {
                name: frame.function.to_string(),
                system_name: frame
                    .raw
                    .as_ref()
                    .filter(|raw| **raw != frame.function)
                    .map(ToString::to_string),
                file: frame.file.as_ref().map(ToString::to_string),
                start_line: frame.declared_line,
                category: Category::Guest,
                mapping: Some(mapping),
            }),
            line: frame.line,
            column: frame.column,
        })
        .collect();
    profile.add_location(Location {
        mapping: Some(mapping),
        address: function.wasm.map(|wasm| u64::from(wasm.0)),
        lines,
    })
}
