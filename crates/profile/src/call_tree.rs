//! The call tree by name: what folded stacks and flame graphs show.
//!
//! The model's trie has a node for each place in the code. Here, frames of the
//! same name and category under the same caller are one node, inlined functions
//! are nodes of their own, and nodes without any sample below are left out.
//! Nothing here recurses: stacks of a hundred thousand frames are fine.

use std::collections::HashMap;

use indexmap::IndexSet;

use crate::category::Category;
use crate::profile::Profile;
use crate::totals::Total;

/// The call tree of a profile.
pub(crate) struct CallTree<'a> {
    nodes: Vec<Node>,
    names: IndexSet<(&'a str, Category)>,
    /// The samples without any frame.
    pub(crate) no_stack: Total,
}

struct Node {
    name: usize,
    parent: Option<usize>,
    own: Total,
    total: Total,
    /// Sorted by name, then category.
    children: Vec<usize>,
}

/// A step of a walk through the tree.
pub(crate) enum Step<'a> {
    /// Goes down into a frame.
    Enter(Entered<'a>),
    /// Comes back up out of the last frame entered and not left.
    Leave,
}

/// A frame of the tree.
#[derive(Clone, Copy)]
pub(crate) struct Entered<'a> {
    pub(crate) name: &'a str,
    pub(crate) category: Category,
    /// Samples in this frame itself.
    pub(crate) own: Total,
    /// Samples in this frame and below.
    pub(crate) total: Total,
}

impl<'a> CallTree<'a> {
    pub(crate) fn new(profile: &'a Profile) -> Self {
        let own = profile.stack_totals();
        let mut is_used = vec![false; own.len()];
        for (stack, node) in profile.stacks().rev() {
            is_used[stack.index()] |= own[stack.index()] != Total::default();
            if let (true, Some(parent)) = (is_used[stack.index()], node.parent) {
                is_used[parent.index()] = true;
            }
        }

        let mut tree = Self {
            nodes: Vec::new(),
            names: IndexSet::new(),
            no_stack: Total::default(),
        };
        let mut known: HashMap<(Option<usize>, usize), usize> = HashMap::new();
        // The tree's node for each stack of the profile that is in use.
        let mut node_of = vec![None; own.len()];
        for (stack, entry) in profile.stacks() {
            if !is_used[stack.index()] {
                continue;
            }
            let mut at = entry.parent.and_then(|parent| node_of[parent.index()]);
            for frame in profile.location_frames(entry.location).rev() {
                let function = profile.function(frame.function);
                let name = (function.name.as_str(), function.category);
                let name = tree.names.insert_full(name).0;
                let node = *known.entry((at, name)).or_insert_with(|| {
                    tree.nodes.push(Node {
                        name,
                        parent: at,
                        own: Total::default(),
                        total: Total::default(),
                        children: Vec::new(),
                    });
                    tree.nodes.len() - 1
                });
                at = Some(node);
            }
            node_of[stack.index()] = at;
            if let Some(at) = at {
                tree.nodes[at].own += own[stack.index()];
            }
        }

        // A parent is always before its children.
        for index in (0..tree.nodes.len()).rev() {
            let node = &mut tree.nodes[index];
            let own = node.own;
            node.total += own;
            let (total, parent) = (node.total, node.parent);
            if let Some(parent) = parent {
                tree.nodes[parent].total += total;
                tree.nodes[parent].children.push(index);
            }
        }
        for index in 0..tree.nodes.len() {
            let mut children = std::mem::take(&mut tree.nodes[index].children);
            tree.sort(&mut children);
            tree.nodes[index].children = children;
        }
        for sample in profile.samples().filter(|sample| sample.stack.is_none()) {
            tree.no_stack += Total {
                weight: sample.weight,
                count: sample.count,
            };
        }
        tree
    }

    fn sort(&self, nodes: &mut [usize]) {
        nodes.sort_by_key(|&node| self.names[self.nodes[node].name]);
    }

    /// Walks through the whole tree, callers before what they call.
    pub(crate) fn walk(&self) -> impl Iterator<Item = Step<'a>> {
        let mut roots: Vec<usize> = (0..self.nodes.len())
            .filter(|&node| self.nodes[node].parent.is_none())
            .collect();
        self.sort(&mut roots);
        roots.reverse();
        // What is still to do, last first; none stands for a way back up.
        let mut todo: Vec<Option<usize>> = roots.into_iter().map(Some).collect();
        std::iter::from_fn(move || {
            let Some(index) = todo.pop()? else {
                return Some(Step::Leave);
            };
            let node = &self.nodes[index];
            todo.push(None);
            todo.extend(node.children.iter().rev().copied().map(Some));
            let (name, category) = self.names[node.name];
            Some(Step::Enter(Entered {
                name,
                category,
                own: node.own,
                total: node.total,
            }))
        })
    }
}
