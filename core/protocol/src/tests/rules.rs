//! Single rules of the two encodings, each where a user would notice.

use crate::mesos::{
    AgentInfo, ContainerId, Filters, FrameworkId, FrameworkInfo, Offer, Resource, TaskInfo,
    TaskState, TaskStatus, Value, task_status, value,
};
use crate::messages::{AgentToMaster, SchedulerToMaster};
use crate::scheduler::call;
use crate::{DecodeErrorKind, MAX_DEPTH, Message as _, Names, internal, scheduler, scheduler_v0};

fn framework(user: &str) -> FrameworkInfo {
    FrameworkInfo { user: user.into(), name: "test".into(), ..Default::default() }
}

#[test]
fn a_missing_required_field_is_named_with_its_path() {
    // Field 1 of RegisterFrameworkMessage is a FrameworkInfo without anything in it.
    let error = internal::RegisterFrameworkMessage::decode(&[0x0a, 0]).unwrap_err();
    assert_eq!((error.path(), error.kind()), ("framework.user", DecodeErrorKind::Missing));

    let accept = br#"{"type": "ACCEPT", "accept": {"offer_ids": [{"value": "1"}, {}]}}"#;
    let error = scheduler::Call::from_json(accept, Names::V1).unwrap_err();
    assert_eq!(error.to_string(), "Missing required fields: accept.offer_ids[1].value");

    let subscribe = br#"{"subscribe": {"framework_info": {}}}"#;
    let error = scheduler::Call::from_json(subscribe, Names::V1).unwrap_err();
    let expected =
        "Missing required fields: subscribe.framework_info.user, subscribe.framework_info.name";
    assert_eq!(error.to_string(), expected);
}

#[test]
fn required_fields_may_come_in_two_parts_of_a_message() {
    // The same singular message twice: the second part need not repeat what the first one had.
    let mut bytes =
        internal::RegisterFrameworkMessage { framework: framework("root"), ..Default::default() }
            .encode_to_vec();
    bytes.extend([0x0a, 3, 0x12, 1, b'b']);
    let message = internal::RegisterFrameworkMessage::decode(&bytes).unwrap();
    assert_eq!(message.framework.user, "root");
    assert_eq!(message.framework.name, "b");
}

#[test]
fn unknown_fields_and_enum_numbers_survive() {
    // Field 200 (varint), field 201 (a group), and task state 99, which no version knows.
    let status = TaskStatus { state: TaskState::TaskRunning, ..Default::default() };
    let mut bytes = status.encode_to_vec();
    let known = bytes.len();
    bytes.extend([0xc0, 0x0c, 7, 0xcb, 0x0c, 0x08, 1, 0xcc, 0x0c, 0x48, 99]);
    let read = TaskStatus::decode(&bytes).unwrap();
    assert_eq!(read.source, None);
    assert_eq!(read.unknown.as_bytes(), &bytes[known..]);
    assert_eq!(read.encode_to_vec(), bytes);
}

#[test]
fn packed_numbers_are_read() {
    // `ContainerLaunchInfo.clone_namespaces` = 4 as one packed field.
    let read =
        crate::containerizer::ContainerLaunchInfo::decode(&[0x22, 3, 1, 0xac, 0x02]).unwrap();
    assert_eq!(read.clone_namespaces, [1, 300]);
    assert_eq!(read.encode_to_vec(), [0x20, 1, 0x20, 0xac, 0x02]);
}

#[test]
fn nesting_is_bounded() {
    let mut bytes = vec![0x0a, 0];
    for _ in 0..MAX_DEPTH {
        let mut outer = vec![0x0a, 1, b'x', 0x12];
        let mut length = bytes.len();
        while length >= 0x80 {
            outer.push(u8::try_from(length & 0x7f).unwrap() | 0x80);
            length >>= 7;
        }
        outer.push(u8::try_from(length).unwrap());
        outer.append(&mut bytes);
        bytes = outer;
    }
    assert!(ContainerId::decode(&bytes).is_ok());
    let mut outer = vec![0x0a, 1, b'x', 0x12, 0, 0];
    let length = bytes.len();
    assert!((0x80..0x4000).contains(&length));
    outer[4] = u8::try_from(length & 0x7f).unwrap() | 0x80;
    outer[5] = u8::try_from(length >> 7).unwrap();
    outer.append(&mut bytes);
    assert_eq!(ContainerId::decode(&outer).unwrap_err().kind(), DecodeErrorKind::Depth);
}

#[test]
fn text_must_be_utf8() {
    let error = FrameworkId::decode(&[0x0a, 1, 0xff]).unwrap_err();
    assert_eq!((error.path(), error.kind()), ("value", DecodeErrorKind::Utf8));
}

#[test]
fn one_type_has_the_names_of_both_versions() {
    let status = TaskStatus {
        state: TaskState::TaskLost,
        source: Some(task_status::Source::SourceAgent),
        reason: Some(task_status::Reason::ReasonAgentDisconnected),
        agent_id: Some(crate::mesos::AgentId { value: "S0".into(), ..Default::default() }),
        ..Default::default()
    };
    let v0 = status.to_json(Names::V0);
    let v1 = status.to_json(Names::V1);
    assert!(v0.contains(r#""slave_id":{"value":"S0"}"#) && v0.contains("SOURCE_SLAVE"), "{v0}");
    assert!(v0.contains("REASON_SLAVE_DISCONNECTED"), "{v0}");
    assert!(v1.contains(r#""agent_id":{"value":"S0"}"#) && v1.contains("SOURCE_AGENT"), "{v1}");
    assert_eq!(TaskStatus::from_json(v0.as_bytes(), Names::V0).unwrap().agent_id, status.agent_id);
    assert_eq!(TaskStatus::from_json(v0.as_bytes(), Names::V1).unwrap().agent_id, None);
}

#[test]
fn a_field_only_v0_has_is_in_v1_json_too() {
    let info = AgentInfo { hostname: "h".into(), checkpoint: Some(true), ..Default::default() };
    assert!(info.to_json(Names::V0).contains(r#""checkpoint":true"#));
    assert!(info.to_json(Names::V1).contains(r#""checkpoint":true"#));
    assert_eq!(AgentInfo::decode(&info.encode_to_vec()).unwrap(), info);
}

#[test]
fn defaults_are_printed_and_have_getters() {
    assert_eq!(Filters::default().to_json(Names::V1), r#"{"refuse_seconds":5.0}"#);
    assert!((Filters::default().refuse_seconds() - 5.0).abs() < f64::EPSILON);
    let json = framework("u").to_json(Names::V1);
    assert!(json.contains(r#""failover_timeout":0.0,"checkpoint":false"#), "{json}");
}

#[test]
fn json_is_read_as_leniently_as_mesos_does() {
    let text = br#"{"name": "cpus", "type": "SCALAR", "scalar": {"value": "1.5"}, "role": null,
        "nonsense": [1, {"a": 2}]}"#;
    let resource = Resource::from_json(text, Names::V1).unwrap();
    assert!((resource.scalar.unwrap().value - 1.5).abs() < f64::EPSILON);

    let infinite = br#"{"value": "Infinity"}"#;
    let scalar = value::Scalar::from_json(infinite, Names::V1).unwrap();
    assert!(scalar.value.is_infinite());
    assert_eq!(scalar.to_json(Names::V1), r#"{"value":"Infinity"}"#);

    // An enum text nobody knows is dropped from an optional field, and an error in a required one.
    let call = scheduler::Call::from_json(br#"{"type": "FLY"}"#, Names::V1).unwrap();
    assert_eq!(call.r#type, None);
    let error = Value::from_json(br#"{"type": "FLY"}"#, Names::V1).unwrap_err();
    assert_eq!(error.to_string(), "Failed to find enum for 'FLY' of field 'type'");
}

#[test]
fn json_of_the_wrong_kind_is_an_error_with_mesos_words() {
    let error = scheduler::Call::from_json(br#"{"type": 3}"#, Names::V1).unwrap_err();
    assert_eq!(error.to_string(), "Not expecting a JSON number for field 'type'");
    let error = scheduler::Call::from_json(b"[]", Names::V1).unwrap_err();
    assert_eq!(error.to_string(), "Expecting a JSON object");
    let error = Offer::from_json(br#"{"resources": [{"name": {}}]}"#, Names::V1).unwrap_err();
    let expected = "Not expecting a JSON object for field 'resources[0].name'";
    assert_eq!(error.to_string(), expected);
    assert!(TaskInfo::from_json(b"{", Names::V1).unwrap_err().to_string().contains("line 1"));
}

#[test]
fn subscribe_differs_between_versions() {
    // v0: 2 is `force`; v1: 2 is `suppressed_roles`.
    let v0 = scheduler_v0::call::Subscribe {
        framework_info: framework("u"),
        force: Some(true),
        ..Default::default()
    };
    assert!(v0.encode_to_vec().ends_with(&[0x10, 1]));
    let v1 = call::Subscribe {
        framework_info: framework("u"),
        suppressed_roles: vec!["r".into()],
        ..Default::default()
    };
    assert!(v1.encode_to_vec().ends_with(&[0x12, 1, b'r']));
}

#[test]
fn messages_are_found_by_name() {
    let call = scheduler_v0::Call { r#type: Some(call::Type::Revive), ..Default::default() };
    let message = SchedulerToMaster::from(call);
    assert_eq!(message.name(), "mesos.scheduler.Call");
    let read = SchedulerToMaster::decode("mesos.scheduler.Call", &message.encode());
    assert_eq!(read.unwrap().unwrap(), message);
    assert!(AgentToMaster::decode("mesos.scheduler.Call", &[]).is_none());
    for name in AgentToMaster::NAMES.iter().chain(SchedulerToMaster::NAMES) {
        assert!(super::entry(name).is_some(), "{name}");
    }
}
