use super::*;
use crate::share::Names;
use crate::slots::Slot;

struct Fixture {
    tree: RoleTree,
    names: Names,
    clients: Vec<(&'static str, ClientIndex)>,
}

impl Fixture {
    /// A cluster of 100 cpus with one framework in each of these roles, the framework named like the
    /// text after the colon.
    fn new(clients: &[&'static str]) -> Self {
        let mut names = Names::default();
        let mut totals = Totals::new(&BTreeSet::new(), &mut names);
        totals.add_all(&cpus(&mut names, 100));
        let mut tree = RoleTree::new(totals, &Config::default());
        let add = |(position, &text): (usize, &&'static str)| {
            let (role, name) = text.split_once(':').unwrap();
            let framework = FrameworkIndex::from_position(u32::try_from(position).unwrap());
            let client = tree.add_client(framework, Arc::from(name), role);
            tree.set_member(client, View::All, true);
            (text, client)
        };
        let clients = clients.iter().enumerate().map(add).collect();
        Self { tree, names, clients }
    }

    fn find(&self, text: &str) -> ClientIndex {
        self.clients.iter().find(|(name, _)| *name == text).unwrap().1
    }

    fn charge(&mut self, text: &str, amount: i128) {
        let client = self.find(text);
        let amounts = cpus(&mut self.names, amount);
        self.tree.charge(client, &Charge { amounts, ..Charge::default() });
    }

    fn order(&mut self, view: View) -> Vec<&'static str> {
        self.tree.refresh();
        let mut order = Vec::new();
        let mut walk = self.tree.walk(view);
        while walk.next_role().is_some() {
            while let Some(client) = walk.next_client() {
                order.push(self.clients.iter().find(|(_, other)| *other == client).unwrap().0);
            }
        }
        order
    }
}

fn cpus(names: &mut Names, amount: i128) -> Amounts {
    let mut amounts = Amounts::default();
    amounts.add(names.intern("cpus"), amount);
    amounts
}

#[test]
fn smaller_shares_come_first_between_roles_and_within() {
    let mut fixture = Fixture::new(&["a:1", "a:2", "b:3", "*:4"]);
    assert_eq!(fixture.order(View::All), ["*:4", "a:1", "a:2", "b:3"], "ties go by name");
    fixture.charge("a:1", 10);
    fixture.charge("b:3", 5);
    fixture.charge("*:4", 20);
    assert_eq!(fixture.order(View::All), ["b:3", "a:2", "a:1", "*:4"]);
}

#[test]
fn equal_shares_take_turns() {
    let mut fixture = Fixture::new(&["a:1", "a:2"]);
    let first = fixture.find("a:1");
    fixture.tree.count_allocation(first);
    assert_eq!(fixture.order(View::All), ["a:2", "a:1"]);
}

#[test]
fn a_role_counts_with_all_below_it_but_its_own_frameworks_compete_with_its_subroles() {
    let mut fixture = Fixture::new(&["a:1", "a/b:2", "a/b/c:3", "d:4"]);
    fixture.charge("a/b/c:3", 10);
    fixture.charge("a:1", 1);
    fixture.charge("d:4", 5);
    assert_eq!(fixture.order(View::All), ["d:4", "a:1", "a/b:2", "a/b/c:3"]);
    fixture.charge("a:1", 20);
    let expected = ["d:4", "a/b:2", "a/b/c:3", "a:1"];
    assert_eq!(fixture.order(View::All), expected);
    let mut clients: Vec<_> = fixture.clients.iter().map(|(_, client)| *client).collect();
    clients.sort_by(|&left, &right| fixture.tree.compare(left, right));
    assert_eq!(clients, expected.map(|text| fixture.find(text)));
}

#[test]
fn weights_apply_along_the_tree() {
    let mut fixture = Fixture::new(&["a/x:1", "a/y:2", "b:3"]);
    fixture.tree.set_weight("a", 4.0);
    fixture.tree.set_weight("a/y", 2.0);
    fixture.tree.set_weight("unknown/role", 2.0);
    fixture.charge("a/x:1", 10);
    fixture.charge("a/y:2", 15);
    fixture.charge("b:3", 10);
    assert_eq!(fixture.order(View::All), ["a/y:2", "a/x:1", "b:3"]);
}

#[test]
fn a_changed_total_changes_the_dominant_resource() {
    let mut fixture = Fixture::new(&["a:1", "b:2"]);
    let mut mem = Amounts::default();
    mem.add(fixture.names.intern("mem"), 1000);
    fixture.tree.change_totals(&Amounts::default(), &mem);
    fixture.charge("a:1", 10);
    let mut used = Charge::default();
    used.amounts.add(fixture.names.intern("mem"), 50);
    let client = fixture.find("b:2");
    fixture.tree.charge(client, &used);
    assert_eq!(fixture.order(View::All), ["b:2", "a:1"]);
    let mut less = Amounts::default();
    less.add(fixture.names.intern("mem"), 200);
    fixture.tree.change_totals(&mem, &less);
    assert_eq!(fixture.order(View::All), ["a:1", "b:2"]);
}

#[test]
fn views_hold_their_members_alone() {
    let mut fixture = Fixture::new(&["a:1", "a/b:2", "c:3"]);
    let (first, second) = (fixture.find("a:1"), fixture.find("a/b:2"));
    fixture.tree.set_member(first, View::All, false);
    fixture.tree.set_member(second, View::Fresh, true);
    assert_eq!(fixture.order(View::All), ["a/b:2", "c:3"]);
    assert_eq!(fixture.order(View::Fresh), ["a/b:2"]);
    fixture.tree.set_member(second, View::Fresh, false);
    assert!(fixture.tree.is_empty(View::Fresh));
}

#[test]
fn removing_the_last_client_removes_the_roles_above() {
    let mut fixture = Fixture::new(&["a/b/c:1", "a:2"]);
    let client = fixture.find("a/b/c:1");
    fixture.tree.remove_client(client);
    assert!(fixture.tree.find("a/b").is_none());
    assert!(fixture.tree.find("a").is_some());
    assert_eq!(fixture.order(View::All), ["a:2"]);
}

#[test]
fn a_role_of_many_levels_needs_neither_stack_nor_square_space() {
    let deep = vec!["a"; 50_000].join("/");
    let mut fixture = Fixture::new(&["b:1"]);
    let client = fixture.tree.add_client(FrameworkIndex::from_position(9), Arc::from("2"), &deep);
    fixture.clients.push(("deep", client));
    fixture.tree.set_member(client, View::All, true);
    assert_eq!(fixture.order(View::All), ["deep", "b:1"]);
    fixture.tree.remove_client(client);
    assert_eq!(fixture.order(View::All), ["b:1"]);
}
