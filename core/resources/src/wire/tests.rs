use proptest::prelude::*;
use protocol::mesos;
use protocol::mesos::resource::reservation_info::Type as ReservationType;
use protocol::mesos::resource::{DiskInfo, ReservationInfo, SharedInfo, disk_info};
use protocol::mesos::value::Type;
use protocol::{Message, Names};

use crate::{Quantity, Reservation, Resource, Resources, downgrade, upgrade};

fn cpus(value: f64) -> mesos::Resource {
    mesos::Resource {
        name: "cpus".to_owned(),
        r#type: Type::Scalar,
        scalar: Some(mesos::value::Scalar { value, ..Default::default() }),
        ..Default::default()
    }
}

fn ports(intervals: &[(u64, u64)]) -> mesos::Resource {
    let range = intervals
        .iter()
        .map(|&(begin, end)| mesos::value::Range { begin, end, ..Default::default() })
        .collect();
    mesos::Resource {
        name: "ports".to_owned(),
        r#type: Type::Ranges,
        ranges: Some(mesos::value::Ranges { range, ..Default::default() }),
        ..Default::default()
    }
}

fn info(kind: ReservationType, role: &str) -> ReservationInfo {
    ReservationInfo { r#type: Some(kind), role: Some(role.to_owned()), ..Default::default() }
}

fn volume(persistence_id: &str) -> mesos::Resource {
    let persistence =
        disk_info::Persistence { id: persistence_id.to_owned(), ..Default::default() };
    let disk = DiskInfo { persistence: Some(persistence), ..Default::default() };
    mesos::Resource {
        name: "disk".to_owned(),
        role: Some("dev".to_owned()),
        disk: Some(disk.into()),
        ..cpus(64.0)
    }
}

fn message(wire: &mesos::Resource) -> String {
    Resource::from_wire(wire).unwrap_err().to_string()
}

fn json(wire: &mesos::Resource) -> String {
    wire.to_json(Names::V0)
}

#[test]
fn the_error_says_which_resource() {
    let error = Resources::from_wire(&[cpus(1.0), cpus(-1.0)]).unwrap_err();
    assert_eq!(error.to_string(), "Resource 'cpus' (number 1 of the list) is invalid");
    assert_eq!(error.reason.to_string(), "Invalid scalar resource: value <= 0");
}

#[test]
fn refuses_amounts_that_are_none() {
    let refused = "Invalid scalar resource: value <= 0";
    assert_eq!(message(&cpus(-1.0)), refused);
    assert_eq!(message(&cpus(0.0001)), refused);
    assert_eq!(message(&cpus(f64::NEG_INFINITY)), refused);
    let refused = "Invalid scalar resource: value is not a finite number in range";
    assert_eq!(message(&cpus(f64::NAN)), refused);
    assert_eq!(message(&cpus(f64::INFINITY)), refused);
    assert_eq!(message(&cpus(1e300)), refused);
    assert!(Resources::from_wire(&[cpus(0.0)]).unwrap().is_empty());
}

#[test]
fn refuses_values_that_do_not_fit_the_type() {
    assert_eq!(
        message(&mesos::Resource { name: String::new(), ..cpus(1.0) }),
        "Empty resource name"
    );
    let wrong = mesos::Resource { r#type: Type::Set, ..cpus(1.0) };
    assert_eq!(message(&wrong), "Invalid set resource");
    let wrong = mesos::Resource { ranges: ports(&[]).ranges, ..cpus(1.0) };
    assert_eq!(message(&wrong), "Invalid scalar resource");
    let wrong = mesos::Resource { r#type: Type::Text, ..cpus(1.0) };
    assert_eq!(message(&wrong), "Unsupported resource type");
    assert_eq!(message(&ports(&[(2, 1)])), "Invalid ranges resource: begin > end");
    let overlapping = "Invalid ranges resource: overlapping ranges";
    assert_eq!(message(&ports(&[(5, 6), (1, 5)])), overlapping);
    assert!(Resource::from_wire(&ports(&[(3, 4), (1, 2)])).is_ok(), "touching is allowed");
    let item = ["a", "a"].map(str::to_owned).to_vec();
    let set = mesos::Resource {
        name: "bugs".to_owned(),
        r#type: Type::Set,
        set: Some(mesos::value::Set { item, ..Default::default() }),
        ..Default::default()
    };
    assert_eq!(message(&set), "Invalid set resource: duplicated elements");
}

#[test]
fn refuses_what_only_disks_may_have() {
    let disk = Some(DiskInfo::default().into());
    let wrong = mesos::Resource { disk, ..cpus(1.0) };
    assert_eq!(message(&wrong), "DiskInfo should not be set for cpus resource");
    let wrong = mesos::Resource { shared: Some(SharedInfo::default()), ..cpus(1.0) };
    assert_eq!(message(&wrong), "Resource cpus cannot be shared");
    let wrong = mesos::Resource { shared: Some(SharedInfo::default()), disk: None, ..volume("a") };
    assert_eq!(message(&wrong), "Only persistent volumes can be shared");
    let source = disk_info::Source {
        r#type: disk_info::source::Type::Block,
        mount: Some(Default::default()),
        ..Default::default()
    };
    let disk = Some(DiskInfo { source: Some(source), ..Default::default() }.into());
    let wrong = mesos::Resource { disk, ..volume("a") };
    assert_eq!(message(&wrong), "Mount should not be set for BLOCK disk source");
}

#[test]
fn refuses_reservations_that_are_not_refined_downwards() {
    let stack = |reservations: Vec<ReservationInfo>| mesos::Resource { reservations, ..cpus(1.0) };
    let (fixed, dynamic) = (ReservationType::Static, ReservationType::Dynamic);
    let wrong = stack(vec![info(dynamic, "dev"), info(dynamic, "ops")]);
    let refused = "Invalid refined reservation: role 'ops' is not a refinement of 'dev'";
    assert_eq!(message(&wrong), refused);
    let wrong = stack(vec![info(dynamic, "dev"), info(fixed, "dev/web")]);
    let refused = "Invalid refined reservation: A refined reservation cannot be STATIC";
    assert_eq!(message(&wrong), refused);
    let wrong = stack(vec![info(dynamic, "*")]);
    assert_eq!(message(&wrong), "Invalid reservation: role \"*\" cannot be reserved");
    let wrong = stack(vec![info(dynamic, "a b")]);
    assert!(message(&wrong).starts_with("Role component 'a b' is invalid"));
    let wrong = stack(vec![ReservationInfo { r#type: None, ..info(fixed, "dev") }]);
    let refused = "Invalid reservation: 'Resource.ReservationInfo.type' field must be set.";
    assert_eq!(message(&wrong), refused);
    let wrong = stack(vec![ReservationInfo { role: None, ..info(fixed, "dev") }]);
    let refused = "Invalid reservation: 'Resource.ReservationInfo.role' field must be set.";
    assert_eq!(message(&wrong), refused);
}

#[test]
fn the_old_format_means_one_reservation() {
    let fixed = mesos::Resource { role: Some("dev".to_owned()), ..cpus(1.0) };
    let read = Resource::from_wire(&fixed).unwrap();
    assert_eq!(read.reservations(), [Reservation::fixed("dev")]);

    let reservation = ReservationInfo { principal: Some("alice".to_owned()), ..Default::default() };
    let dynamic = mesos::Resource { reservation: Some(reservation), ..fixed };
    let read = Resource::from_wire(&dynamic).unwrap();
    assert_eq!(read.reservations(), [Reservation::dynamic("dev", Some("alice"))]);

    let wrong = mesos::Resource { role: None, ..dynamic };
    let refused = "Invalid reservation: role \"*\" cannot be dynamically reserved";
    assert_eq!(message(&wrong), refused);
    let unreserved = mesos::Resource { role: Some("*".to_owned()), ..cpus(1.0) };
    assert!(Resource::from_wire(&unreserved).unwrap().is_unreserved());
}

#[test]
fn both_formats_at_once_must_agree() {
    let dynamic = Resource::from_wire(&mesos::Resource {
        reservations: vec![info(ReservationType::Dynamic, "dev")],
        ..cpus(1.0)
    })
    .unwrap();
    let both = dynamic.to_wire_endpoint();
    assert_eq!(Resource::from_wire(&both).unwrap(), dynamic);
    let wrong = mesos::Resource { role: Some("ops".to_owned()), ..both.clone() };
    assert!(message(&wrong).contains("'Resource.role' field with 'ops' does not match the role"));
    let wrong = mesos::Resource { reservation: None, ..both.clone() };
    assert!(message(&wrong).contains("must either be both set or both not set"));
    let mut wrong = both;
    wrong.reservations.push(info(ReservationType::Dynamic, "dev/web"));
    assert!(message(&wrong).contains("'Resource.role' must not be set if there is more than one"));
}

#[test]
fn is_written_as_mesos_writes_it() {
    let plain = Resource::from_wire(&cpus(2.0)).unwrap();
    let text = r#"{"name":"cpus","type":"SCALAR","scalar":{"value":2.0}"#;
    assert_eq!(json(&plain.to_wire()), format!("{text}}}"));
    let old = plain.to_wire_pre_refinement().unwrap();
    assert_eq!(json(&old), format!(r#"{text},"role":"*"}}"#));
    assert_eq!(old, plain.to_wire_endpoint());

    let mut wire = volume("vol1");
    wire.reservation =
        Some(ReservationInfo { principal: Some("p".to_owned()), ..Default::default() });
    let volume = Resource::from_wire(&wire).unwrap();
    assert_eq!(
        json(&volume.to_wire_endpoint()),
        concat!(
            r#"{"name":"disk","type":"SCALAR","scalar":{"value":64.0},"role":"dev","#,
            r#""reservation":{"principal":"p"},"#,
            r#""reservations":[{"type":"DYNAMIC","role":"dev","principal":"p"}],"#,
            r#""disk":{"persistence":{"id":"vol1"}}}"#
        )
    );
    assert_eq!(volume.to_wire_pre_refinement().unwrap(), wire);
}

#[test]
fn relayed_resources_change_their_format_only() {
    let mut relayed = [volume("a"), cpus(1.0)];
    upgrade(&mut relayed).unwrap();
    assert_eq!(relayed[0].reservations, [info(ReservationType::Static, "dev")]);
    downgrade(&mut relayed).unwrap();
    assert_eq!(relayed[0], volume("a"));
    assert_eq!(relayed[1], mesos::Resource { role: Some("*".to_owned()), ..cpus(1.0) });
    assert_eq!(upgrade(&mut [cpus(1.0), cpus(-1.0)]).unwrap_err().index, 1);
}

#[test]
fn refined_reservations_have_no_old_format() {
    let reservation = Reservation::dynamic("dev/web", None);
    let refined =
        Resources::parse("cpus(dev):1", "*").unwrap().push_reservation(&reservation).unwrap();
    assert!(refined.to_wire_pre_refinement().is_err());
    let endpoint = refined.to_wire_endpoint();
    assert_eq!((&endpoint[0].role, endpoint[0].reservations.len()), (&None, 2));
}

#[test]
fn fields_of_newer_peers_are_passed_on() {
    // Field 1000, a varint.
    let mut bytes = cpus(1.0).encode_to_vec();
    bytes.extend([0xc0, 0x3e, 0x07]);
    let wire = mesos::Resource::decode(&bytes).unwrap();
    let read = Resources::from_wire(std::slice::from_ref(&wire)).unwrap();
    let grown = read.clone() + &read;
    assert_eq!(grown.cpus(), Quantity::from_units(2));
    assert!(grown.to_wire()[0].encode_to_vec().ends_with(&[0xc0, 0x3e, 0x07]));
    assert_eq!(read.to_wire(), [wire]);
}

#[test]
fn the_volume_and_its_creator_are_passed_on_but_tell_nothing_apart() {
    let persistence = disk_info::Persistence {
        id: "a".to_owned(),
        principal: Some("alice".to_owned()),
        ..Default::default()
    };
    let disk = DiskInfo { persistence: Some(persistence), ..Default::default() };
    let other = mesos::Resource { disk: Some(disk.into()), ..volume("a") };
    let (left, right) =
        (Resource::from_wire(&volume("a")).unwrap(), Resource::from_wire(&other).unwrap());
    assert_eq!(left, right);
    assert_eq!(right.to_wire().disk, other.disk);
}

fn wire_resource() -> impl Strategy<Value = mesos::Resource> {
    let value = prop_oneof![
        (1_i64..1_000_000).prop_map(|it| cpus(Quantity::from_thousandths(it).unwrap().to_f64())),
        (1_u64..100, 0_u64..9).prop_map(|(begin, more)| ports(&[(begin, begin + more)])),
        "[a-c]".prop_map(|id| volume(&id)),
    ];
    let stack = prop_oneof![
        Just(vec![]),
        Just(vec![info(ReservationType::Static, "dev")]),
        Just(vec![info(ReservationType::Dynamic, "dev"), info(ReservationType::Dynamic, "dev/a")]),
    ];
    (value, stack, any::<bool>(), proptest::option::of("[a-c]")).prop_map(
        |(value, reservations, revocable, allocation)| mesos::Resource {
            role: if reservations.is_empty() { value.role.clone() } else { None },
            reservations,
            revocable: revocable.then(Default::default),
            allocation_info: allocation.map(|role| mesos::resource::AllocationInfo {
                role: Some(role),
                ..Default::default()
            }),
            ..value
        },
    )
}

proptest! {
    #[test]
    fn what_is_written_reads_back(wire in proptest::collection::vec(wire_resource(), 0..8)) {
        let resources = Resources::from_wire(&wire).unwrap();
        prop_assert_eq!(&Resources::from_wire(&resources.to_wire()).unwrap(), &resources);
        prop_assert_eq!(&Resources::from_wire(&resources.to_wire_endpoint()).unwrap(), &resources);
        let mut relayed = wire;
        upgrade(&mut relayed).unwrap();
        prop_assert!(relayed.iter().all(|it| it.role.is_none() && it.reservation.is_none()));
        prop_assert_eq!(&Resources::from_wire(&relayed).unwrap(), &resources);
        let downgraded = downgrade(&mut relayed).is_ok();
        prop_assert_eq!(downgraded, resources.to_wire_pre_refinement().is_ok());
        prop_assert!(!downgraded || relayed.iter().all(|it| it.role.is_some()));
        if let Ok(old) = resources.to_wire_pre_refinement() {
            prop_assert_eq!(&Resources::from_wire(&relayed).unwrap(), &resources);
            prop_assert_eq!(&Resources::from_wire(&old).unwrap(), &resources);
        }
    }
}
