use proptest::prelude::*;
use protocol::mesos;
use protocol::mesos::resource::disk_info::source::Type as SourceType;
use protocol::mesos::resource::{DiskInfo, SharedInfo, disk_info};

use crate::{Quantity, Reservation, Resource, Resources};

fn parse(text: &str) -> Resources {
    Resources::parse(text, "*").unwrap()
}

/// A disk as it comes over the wire.
fn disk(size: f64, source: Option<(SourceType, &str)>, volume: Option<&str>) -> mesos::Resource {
    let source = source.map(|(r#type, id)| disk_info::Source {
        r#type,
        id: Some(id.to_owned()),
        ..Default::default()
    });
    let persistence =
        volume.map(|id| disk_info::Persistence { id: id.to_owned(), ..Default::default() });
    let mut wire = Resource::scalar("disk", Quantity::from_f64(size).unwrap()).to_wire();
    wire.disk = Some(DiskInfo { source, persistence, ..Default::default() }.into());
    wire.role = volume.map(|_| "dev".to_owned());
    wire
}

fn read(wire: mesos::Resource) -> Resources {
    Resources::from_wire(&[wire]).unwrap()
}

fn shared_volume() -> Resources {
    let mut wire = disk(64.0, None, Some("volume-1"));
    wire.shared = Some(SharedInfo::default());
    read(wire)
}

fn stacks() -> impl Strategy<Value = Vec<Reservation>> {
    prop_oneof![
        Just(vec![]),
        Just(vec![Reservation::fixed("dev")]),
        Just(vec![Reservation::dynamic("dev", Some("alice"))]),
        Just(vec![Reservation::fixed("dev"), Reservation::dynamic("dev/web", None)]),
    ]
}

fn resource() -> impl Strategy<Value = Resource> {
    let plain = prop_oneof![
        ("[abc]", 1_i64..5000).prop_map(|(name, amount)| format!("{name}:{}", amount as f64 / 1e3)),
        (1_u64..20, 0_u64..9).prop_map(|(begin, more)| format!("ports:[{begin}-{}]", begin + more)),
        proptest::collection::btree_set("[a-e]", 1..4).prop_map(|items| format!(
            "bugs:{{{}}}",
            items.into_iter().collect::<Vec<_>>().join(",")
        )),
    ];
    let disks = prop_oneof![
        Just(disk(8.0, Some((SourceType::Mount, "m1")), None)),
        Just(disk(9.0, Some((SourceType::Path, "p1")), None)),
        Just(disk(9.0, Some((SourceType::Raw, "r1")), None)),
        Just(disk(5.0, None, Some("v1"))),
        Just(disk(5.0, Some((SourceType::Path, "p1")), Some("v2"))),
    ];
    let first = |resources: Resources| resources.into_iter().next().unwrap();
    let plain = (plain, stacks(), any::<bool>()).prop_map(move |(text, stack, revocable)| {
        let mut resources = parse(&text);
        for reservation in &stack {
            resources = resources.push_reservation(reservation).unwrap();
        }
        let resource = first(resources);
        if revocable { resource.into_revocable() } else { resource }
    });
    let allocation = proptest::option::of(prop_oneof![Just("dev"), Just("ops")]);
    (prop_oneof![4 => plain, 1 => disks.prop_map(move |wire| first(read(wire)))], allocation)
        .prop_map(move |(resource, role)| match role {
            Some(role) => first(Resources::from(resource).allocated_to(role)),
            None => resource,
        })
}

fn resources() -> impl Strategy<Value = Resources> {
    proptest::collection::vec(resource(), 0..8).prop_map(|list| list.into_iter().collect())
}

/// Resources whose ranges and sets have nothing in common, so that sums do not overlap.
fn disjoint_pair() -> impl Strategy<Value = (Resources, Resources)> {
    (resources(), resources()).prop_map(|(a, b)| {
        let overlapping = |it: &Resource| it.value().scalar().is_none();
        let b =
            b.filter(|it| !(overlapping(it) && a.iter().any(|other| other.name() == it.name())));
        (a, b)
    })
}

/// Every entry is found under its order, and the entries ascend.
fn assert_canonical(resources: &Resources) {
    let entries: Vec<_> = resources.iter().collect();
    assert!(entries.windows(2).all(|pair| pair[0].order(pair[1]).is_lt()), "{resources}");
    assert!(entries.iter().all(|it| !it.value().is_empty() && it.copies() > 0), "{resources}");
}

#[test]
fn equal_resources_merge_and_different_ones_stay_apart() {
    assert_eq!(parse("cpus:1;mem:5;cpus:2").to_string(), "cpus:3; mem:5");
    assert_eq!(parse("ports:[1-2];ports:[3-4]").to_string(), "ports:[1-4]");
    let both = parse("cpus:1;cpus(dev):2");
    assert_eq!(both.len(), 2);
    assert_eq!(both.cpus(), Quantity::from_units(3));
    assert!(parse("cpus:0;ports:[];bugs:{}").is_empty());
}

#[test]
fn the_well_known_names_come_first_as_agents_list_them() {
    let resources = parse("zebra:1;ports:[1-2];ant:1;disk:1;mem(dev):1;mem:1;gpus:1;cpus:1");
    let names: Vec<_> = resources.iter().map(Resource::name).collect();
    assert_eq!(names, ["cpus", "gpus", "mem", "disk", "ports", "ant", "zebra", "mem"]);
}

#[test]
fn contains_asks_for_the_same_reservation() {
    let resources = parse("cpus:2;cpus(dev):3;ports:[1-10]");
    assert!(resources.contains(&parse("cpus:2;ports:[2-3,7-9]")));
    assert!(!resources.contains(&parse("cpus:2.001")));
    assert!(!resources.contains(&parse("cpus(ops):1")));
    assert!(!resources.contains(&parse("ports:[10-11]")));
    assert!(resources.contains(&Resources::EMPTY));
}

#[test]
fn subtracting_more_than_there_is_changes_nothing() {
    let mut resources = parse("cpus:2;mem:10");
    assert!(!resources.checked_sub_assign(&parse("mem:1;cpus:3")));
    assert_eq!(resources, parse("cpus:2;mem:10"));
    assert_eq!(resources.saturating_sub(&parse("mem:1;cpus:3")), parse("mem:9"));
    assert_eq!(parse("ports:[1-5]").saturating_sub(&parse("ports:[4-9]")), parse("ports:[1-3]"));
}

#[test]
fn exclusive_disks_are_neither_merged_nor_split() {
    let mount = read(disk(100.0, Some((SourceType::Mount, "m")), None));
    let part = read(disk(40.0, Some((SourceType::Mount, "m")), None));
    assert!(!mount.contains(&part));
    assert!(mount.contains(&mount));
    assert_eq!((mount.clone() + &part).len(), 2);
    assert_eq!((mount.clone() + &part).checked_sub(&part), Some(mount.clone()));
    assert_eq!(mount.iter().next().unwrap().shrunk_to(Quantity::from_units(1)), None);

    let path = |size| read(disk(size, Some((SourceType::Path, "p")), None));
    assert!(path(100.0).contains(&path(40.0)));
    assert_eq!(path(60.0) + &path(40.0), path(100.0));
}

#[test]
fn persistent_volumes_are_wholes_told_apart_by_id() {
    let volume = |id| read(disk(64.0, None, Some(id)));
    let both = volume("a") + &volume("b");
    assert_eq!(both.persistent_volumes().len(), 2);
    assert_eq!(both.disk(), Quantity::from_units(128));
    assert!(!both.contains(&read(disk(32.0, None, Some("a")))));
    let twice = volume("a") + &volume("a");
    assert!(!volume("a").contains(&twice));
    assert_eq!(twice.checked_sub(&volume("a")), Some(volume("a")));
}

#[test]
fn shared_volumes_count_their_users_and_are_one_amount() {
    let one = shared_volume();
    let two = one.clone() + &one;
    assert_eq!((two.len(), two.iter().next().unwrap().copies()), (1, 2));
    assert!(two.contains(&one) && !one.contains(&two));
    assert_eq!(two.disk(), Quantity::from_units(64));
    assert_eq!(two.quantities(), one.quantities());
    assert_eq!(two.to_wire().len(), 1, "a framework sees one volume");
    assert_eq!(two.checked_sub(&one).unwrap().checked_sub(&one), Some(Resources::EMPTY));
    assert_eq!((&two.shared(), two.non_shared()), (&two, Resources::EMPTY));
}

#[test]
fn reservations_of_ancestors_are_allocatable_to_descendants() {
    let resources = parse("cpus:1;cpus(dev):2;cpus(dev/web):4;cpus(devops):8");
    let cpus = |role| resources.allocatable_to(role).cpus();
    assert_eq!(cpus("dev"), Quantity::from_units(3));
    assert_eq!(cpus("dev/web"), Quantity::from_units(7));
    assert_eq!(cpus("ops"), Quantity::from_units(1));
    assert_eq!(resources.reserved_to("dev").cpus(), Quantity::from_units(2));
    assert_eq!(resources.reserved_to_subtree("dev").cpus(), Quantity::from_units(6));
    assert_eq!(resources.unreserved(), parse("cpus:1"));
    assert_eq!(resources.to_unreserved(), parse("cpus:15"));
}

#[test]
fn reservations_are_pushed_and_popped() {
    let refined = parse("cpus(dev):2;mem(dev):5")
        .push_reservation(&Reservation::dynamic("dev/web", Some("alice")))
        .unwrap();
    assert!(refined.iter().all(Resource::has_refined_reservations));
    assert_eq!(refined.reservations().keys().collect::<Vec<_>>(), ["dev/web"]);
    assert_eq!(refined.pop_reservation(), Some(parse("cpus(dev):2;mem(dev):5")));
    assert_eq!(parse("cpus:1").pop_reservation(), None);

    let push = |role| parse("cpus(dev):1").push_reservation(&Reservation::dynamic(role, None));
    let message = push("ops").unwrap_err().to_string();
    assert_eq!(message, "Invalid refined reservation: role 'ops' is not a refinement of 'dev'");
    assert!(push("*").is_err());
    let fixed = parse("cpus(dev):1").push_reservation(&Reservation::fixed("dev/web"));
    assert!(fixed.is_err());
}

#[test]
fn labels_tell_reservations_apart_in_any_order() {
    let label = |key: &str| mesos::Label { key: key.to_owned(), ..Default::default() };
    let reserve = |labels: Vec<mesos::Label>| {
        let labels = mesos::Labels { labels, ..Default::default() };
        let reservation = Reservation::dynamic("dev", None).with_labels(labels);
        parse("cpus:1").push_reservation(&reservation).unwrap()
    };
    let both = reserve(vec![label("a"), label("b")]);
    assert_eq!(both, reserve(vec![label("b"), label("a")]));
    assert_ne!(both, reserve(vec![label("a")]));
    assert_eq!((&both + &reserve(vec![label("a")])).len(), 2);
}

#[test]
fn allocations_are_grouped_by_role() {
    let dev = parse("cpus:1;mem:5").allocated_to("dev");
    let ops = parse("cpus:2").allocated_to("ops");
    let all = dev.clone() + &ops;
    assert_eq!(all.len(), 3);
    assert_eq!(
        all.allocations().into_iter().collect::<Vec<_>>(),
        [("dev".to_owned(), dev), ("ops".to_owned(), ops)]
    );
    assert_eq!(all.unallocated(), parse("cpus:3;mem:5"));
    assert!(all.has_allocations() && !all.unallocated().has_allocations());
}

#[test]
fn quantities_count_members() {
    let resources = parse("cpus:1.5;cpus(dev):1;ports:[1-5];bugs:{a,b}");
    assert_eq!(resources.quantities().to_string(), "bugs:2; cpus:2.5; ports:5");
    assert_eq!(resources.scalar_quantities().to_string(), "cpus:2.5");
}

proptest! {
    #[test]
    fn subtracting_undoes_adding((a, b) in disjoint_pair()) {
        let sum = &a + &b;
        assert_canonical(&sum);
        prop_assert!(sum.contains(&a) && sum.contains(&b));
        prop_assert_eq!(sum.checked_sub(&b), Some(a.clone()));
        prop_assert_eq!(&sum, &(&b + &a));
        prop_assert_eq!(sum.quantities(), a.quantities() + &b.quantities());
    }

    #[test]
    fn adding_undoes_subtracting(a in resources(), b in resources()) {
        match a.checked_sub(&b) {
            Some(rest) => {
                assert_canonical(&rest);
                prop_assert!(a.contains(&b));
                prop_assert_eq!(&rest + &b, a);
            }
            None => prop_assert!(!a.contains(&b)),
        }
    }

    #[test]
    fn contains_is_a_partial_order(a in resources(), b in resources(), c in resources()) {
        prop_assert!(a.contains(&a));
        prop_assert_eq!(a.contains(&b) && b.contains(&a), a == b);
        let (ab, abc) = (&a + &b, &(&a + &b) + &c);
        prop_assert!(abc.contains(&ab) && ab.contains(&a) && abc.contains(&a));
        prop_assert!(!(a.contains(&b) && b.contains(&c)) || a.contains(&c));
    }

    #[test]
    fn adding_is_associative(a in resources(), b in resources(), c in resources()) {
        prop_assert_eq!(&(&a + &b) + &c, &a + &(&b + &c));
        prop_assert_eq!([&a, &b, &c].into_iter().sum::<Resources>(), &(&a + &b) + &c);
    }

    #[test]
    fn looking_up_agrees_with_walking(many in proptest::collection::vec(resource(), 0..60), one in resource()) {
        let mut built = Resources::EMPTY;
        for resource in &many {
            built.insert(resource.clone());
        }
        let walked: Resources = many.into_iter().collect();
        prop_assert_eq!(&built, &walked);
        let single = Resources::from(one.clone());
        prop_assert_eq!(built.contains(&single), built.contains_one(&one));
        prop_assert_eq!(built.contains(&single), built.checked_sub(&single).is_some());
        prop_assert_eq!(&built + &single, &single + &built);
        assert_canonical(&(&built + &single));
    }

    #[test]
    fn the_parts_make_the_whole(a in resources()) {
        let reserved: Resources = a.reservations().values().sum();
        prop_assert_eq!(&(a.unreserved() + &reserved), &a);
        prop_assert_eq!(&(a.revocable() + &a.non_revocable()), &a);
        let unallocated = a.filter(|it| it.allocation_role().is_none());
        let allocated: Resources = a.allocations().values().sum();
        prop_assert_eq!(&(unallocated + &allocated), &a);
        prop_assert_eq!(a.allocated_to("x").unallocated(), a.unallocated());
        assert_canonical(&a.allocated_to("x"));
        prop_assert_eq!(a.to_unreserved().scalar_quantities(), a.scalar_quantities());
    }

    #[test]
    fn what_cannot_be_taken_stays(a in resources(), b in resources()) {
        let rest = a.saturating_sub(&b);
        assert_canonical(&rest);
        prop_assert!(a.contains(&rest));
        prop_assert!(!a.contains(&b) || a.checked_sub(&b) == Some(rest));
    }
}
