use protocol::mesos;
use protocol::mesos::offer::Operation;
use protocol::mesos::offer::operation::{
    Create, Destroy, GrowVolume, Reserve, ShrinkVolume, Type, Unreserve,
};
use protocol::mesos::resource::{DiskInfo, SharedInfo, disk_info};

use crate::{Reservation, Resources, conversions};

fn parse(text: &str) -> Resources {
    Resources::parse(text, "*").unwrap()
}

fn dynamic(text: &str, role: &str) -> Resources {
    parse(text).push_reservation(&Reservation::dynamic(role, Some("alice"))).unwrap()
}

fn volume(size: u32, id: &str, shared: bool) -> Resources {
    let mut wire = dynamic(&format!("disk:{size}"), "dev").to_wire();
    let persistence = disk_info::Persistence { id: id.to_owned(), ..Default::default() };
    let disk = DiskInfo { persistence: Some(persistence), ..Default::default() };
    wire[0].disk = Some(disk.into());
    wire[0].shared = shared.then(SharedInfo::default);
    Resources::from_wire(&wire).unwrap()
}

fn reserve(resources: &Resources, source: &Resources) -> Operation {
    Operation {
        r#type: Some(Type::Reserve),
        reserve: Some(Reserve {
            resources: resources.to_wire(),
            source: source.to_wire(),
            ..Default::default()
        }),
        ..Default::default()
    }
}

fn unreserve(resources: &Resources) -> Operation {
    let resources = resources.to_wire();
    Operation {
        r#type: Some(Type::Unreserve),
        unreserve: Some(Unreserve { resources, ..Default::default() }),
        ..Default::default()
    }
}

fn create(volumes: &Resources) -> Operation {
    let volumes = volumes.to_wire();
    Operation {
        r#type: Some(Type::Create),
        create: Some(Create { volumes, ..Default::default() }),
        ..Default::default()
    }
}

fn destroy(volumes: &Resources) -> Operation {
    let volumes = volumes.to_wire();
    Operation {
        r#type: Some(Type::Destroy),
        destroy: Some(Destroy { volumes, ..Default::default() }),
        ..Default::default()
    }
}

fn one(resources: &Resources) -> mesos::Resource {
    resources.to_wire().remove(0)
}

fn grow(volume: &Resources, addition: &Resources) -> Operation {
    let (volume, addition) = (one(volume), one(addition));
    Operation {
        r#type: Some(Type::GrowVolume),
        grow_volume: Some(GrowVolume { volume, addition, ..Default::default() }.into()),
        ..Default::default()
    }
}

fn shrink(volume: &Resources, value: f64) -> Operation {
    let subtract = mesos::value::Scalar { value, ..Default::default() };
    let volume = one(volume);
    Operation {
        r#type: Some(Type::ShrinkVolume),
        shrink_volume: Some(ShrinkVolume { volume, subtract, ..Default::default() }.into()),
        ..Default::default()
    }
}

fn message(resources: &Resources, operation: &Operation) -> String {
    resources.apply_operation(operation).unwrap_err().to_string()
}

#[test]
fn unreserving_undoes_reserving() {
    let total = parse("cpus:4;mem:100");
    let wanted = dynamic("cpus:1;mem:10", "dev");
    let reserved = total.apply_operation(&reserve(&wanted, &Resources::EMPTY)).unwrap();
    assert_eq!(reserved.unreserved(), parse("cpus:3;mem:90"));
    assert_eq!(reserved.reserved_to("dev"), wanted);
    assert_eq!(reserved.quantities(), total.quantities());
    assert_eq!(reserved.apply_operation(&unreserve(&wanted)).unwrap(), total);
}

#[test]
fn more_than_there_is_cannot_be_reserved() {
    let wanted = dynamic("cpus:5", "dev");
    let refused = message(&parse("cpus:4"), &reserve(&wanted, &Resources::EMPTY));
    assert_eq!(refused, "cpus:4 does not contain cpus:5");
    let fixed = parse("cpus(dev):1");
    let refused = message(&parse("cpus:4"), &reserve(&fixed, &Resources::EMPTY));
    assert!(refused.ends_with("is not dynamically reserved"));
    assert!(message(&fixed, &unreserve(&fixed)).ends_with("is not dynamically reserved"));
}

#[test]
fn reservations_move_from_a_source() {
    let (dev, ops) = (dynamic("cpus:2", "dev"), dynamic("cpus:2", "ops"));
    assert_eq!(dev.apply_operation(&reserve(&ops, &dev)).unwrap(), ops);
    let more = dynamic("cpus:3", "ops");
    assert!(message(&dev, &reserve(&more, &dev)).contains("differs from its resources"));
}

#[test]
fn destroying_undoes_creating() {
    let total = dynamic("disk:100", "dev");
    let volume = volume(40, "a", false);
    let created = total.apply_operation(&create(&volume)).unwrap();
    assert_eq!(created, dynamic("disk:60", "dev") + &volume);
    assert_eq!(created.apply_operation(&destroy(&volume)).unwrap(), total);
    assert!(message(&created, &unreserve(&volume)).ends_with("and cannot be unreserved"));
    assert!(message(&total, &destroy(&volume)).contains("does not contain"));
    assert!(message(&total, &create(&total)).ends_with("is not a persistent volume"));
}

#[test]
fn a_shared_volume_with_other_users_is_not_destroyed() {
    let volume = volume(40, "a", true);
    let mut two = volume.clone() + &volume;
    let refused = message(&two, &destroy(&volume));
    assert!(refused.ends_with("cannot be removed due to additional shared copies"), "{refused}");
    let conversion = conversions(&destroy(&volume)).unwrap().remove(0);
    assert!(two.apply(&conversion).is_err());
    assert_eq!(two, volume.clone() + &volume, "nothing was changed");
    let destroyed = volume.apply_operation(&destroy(&volume)).unwrap();
    assert_eq!(destroyed, dynamic("disk:40", "dev"));
}

#[test]
fn volumes_grow_and_shrink() {
    let total = volume(40, "a", false) + &dynamic("disk:60", "dev");
    let grown =
        total.apply_operation(&grow(&volume(40, "a", false), &dynamic("disk:10", "dev"))).unwrap();
    assert_eq!(grown, volume(50, "a", false) + &dynamic("disk:50", "dev"));
    let shrunk = grown.apply_operation(&shrink(&volume(50, "a", false), 10.0)).unwrap();
    assert_eq!(shrunk, total);

    let foreign = grow(&volume(40, "a", false), &parse("disk:1"));
    assert!(message(&total, &foreign).contains("cannot be added to persistent volume"));
    for subtract in [0.0, -1.0, 40.0, f64::NAN] {
        let refused = message(&total, &shrink(&volume(40, "a", false), subtract));
        assert!(refused.contains("cannot be subtracted"), "{refused}");
    }
    let shared = volume(40, "a", true);
    assert!(message(&shared, &shrink(&shared, 1.0)).contains("cannot be resized"));
}

#[test]
fn conversions_follow_the_allocation() {
    let wanted = dynamic("cpus:1", "dev");
    let conversion = conversions(&reserve(&wanted, &Resources::EMPTY)).unwrap().remove(0);
    let mut changed = parse("cpus:4").allocated_to("dev");
    assert!(changed.apply(&conversion).is_err());
    changed.apply(&conversion.allocated_to("dev")).unwrap();
    assert_eq!(changed.reserved(), wanted.allocated_to("dev"));
    assert_eq!(conversion.allocated_to("dev").unallocated(), conversion);
}

#[test]
fn operations_without_their_field_or_conversion_are_refused() {
    let operation = |r#type| Operation { r#type: Some(r#type), ..Default::default() };
    let refused = message(&parse("cpus:1"), &operation(Type::Reserve));
    assert_eq!(
        refused,
        "A RESERVE offer operation must have the Offer.Operation.reserve field set."
    );
    assert!(parse("cpus:1").apply_operation(&operation(Type::Launch)).is_err());
    assert_eq!(message(&parse("cpus:1"), &Operation::default()), "Unknown offer operation");
}

#[test]
fn checkpointed_reservations_are_found_again() {
    let started = parse("cpus:4;cpus(eng):2;disk:100");
    let refined =
        parse("cpus(eng):1").push_reservation(&Reservation::dynamic("eng/web", None)).unwrap();
    let checkpointed = dynamic("cpus:1", "dev") + &refined + &volume(40, "a", true);
    let found = started.apply_checkpointed(&checkpointed).unwrap();
    let expected = parse("cpus:3;cpus(eng):1;disk:60") + &checkpointed;
    assert_eq!(found, expected);
    assert!(parse("cpus:4").apply_checkpointed(&checkpointed).is_err());
}
