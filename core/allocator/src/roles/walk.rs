//! Visits roles and frameworks in the order in which they are served.

use std::collections::btree_set;
use std::iter::Peekable;

use super::{Group, RoleTree, View};
use crate::share::Rank;
use crate::slots::{ClientIndex, RoleIndex};

/// Roles, and the clients of each, in the order in which they are served.
#[derive(Debug)]
pub(crate) struct Walk<'a> {
    tree: &'a RoleTree,
    view: View,
    /// Where the walk is in each role from the top down to the current one.
    levels: Vec<(RoleIndex, Groups<'a>)>,
    clients: Option<btree_set::Iter<'a, (Rank, ClientIndex)>>,
}

/// Groups of one role in their order.
#[derive(Debug)]
enum Groups<'a> {
    One(btree_set::Iter<'a, (Rank, Group)>),
    /// Those of two sets.
    Both(
        Peekable<btree_set::Iter<'a, (Rank, Group)>>,
        Peekable<btree_set::Iter<'a, (Rank, Group)>>,
    ),
}

impl Groups<'_> {
    fn next(&mut self) -> Option<Group> {
        let entry = match self {
            Groups::One(groups) => groups.next(),
            Groups::Both(left, right) => match (left.peek(), right.peek()) {
                (Some(first), Some(second)) if second < first => right.next(),
                (None, Some(_)) => right.next(),
                (Some(_), _) | (None, None) => left.next(),
            },
        };
        entry.map(|&(_, group)| group)
    }
}

impl Walk<'_> {
    /// The next role that has clients, whether or not all those of the last one were visited.
    pub(crate) fn next_role(&mut self) -> Option<RoleIndex> {
        loop {
            let (role, groups) = self.levels.last_mut()?;
            match groups.next() {
                Some(Group::Own) => {
                    let role = *role;
                    self.clients =
                        Some(self.tree.roles[role].orders[self.view as usize].clients.iter());
                    return Some(role);
                }
                Some(Group::Child(child)) => {
                    let groups = self.tree.roles[child].orders[self.view as usize].groups.iter();
                    self.levels.push((child, Groups::One(groups)));
                }
                None => {
                    self.levels.pop();
                }
            }
        }
    }

    /// The next client of the role that [`Walk::next_role`] has come to.
    pub(crate) fn next_client(&mut self) -> Option<ClientIndex> {
        self.clients.as_mut()?.next().map(|&(_, client)| client)
    }
}

impl RoleTree {
    /// Walks all roles but those that quota leaves no room.
    pub(crate) fn walk_open(&self, view: View) -> Walk<'_> {
        self.walk_below(self.root, view)
    }

    /// Walks all roles.
    pub(crate) fn walk(&self, view: View) -> Walk<'_> {
        let order = &self.roles[self.root].orders[view as usize];
        let groups = Groups::Both(order.groups.iter().peekable(), order.shut.iter().peekable());
        Walk { tree: self, view, levels: vec![(self.root, groups)], clients: None }
    }

    /// Walks the roles that miss something of their guarantees.
    pub(crate) fn walk_lacking(&self, view: View) -> Walk<'_> {
        let groups = Groups::One(self.roles[self.root].orders[view as usize].lacking.iter());
        Walk { tree: self, view, levels: vec![(self.root, groups)], clients: None }
    }

    /// Walks a role and those below it.
    pub(crate) fn walk_below(&self, role: RoleIndex, view: View) -> Walk<'_> {
        let groups = Groups::One(self.roles[role].orders[view as usize].groups.iter());
        Walk { tree: self, view, levels: vec![(role, groups)], clients: None }
    }
}
