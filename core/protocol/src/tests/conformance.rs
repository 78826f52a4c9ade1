//! Every message type against prost-reflect, in both encodings and both name tables.

use prost_reflect::prost::Message as _;
use prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor, SerializeOptions};

use super::arbitrary::{Generator, definitions, set_defaults};
use crate::Names;
use crate::generated::registry::MESSAGES;
use crate::registry::Entry;

/// Random instances of each message type.
const INSTANCES: u64 = 8;

/// Calls `check` with random instances of all types, under their v0 and v1 definitions.
fn for_each_type(check: impl Fn(&Entry, Names, &MessageDescriptor, DynamicMessage)) {
    let pool: DescriptorPool = definitions();
    for (seed, entry) in (0..).zip(MESSAGES) {
        let own = if entry.name.starts_with("mesos.v1.") { Names::V1 } else { Names::V0 };
        let partner = entry.v0_name.map(|name| (name, Names::V0));
        for (name, names) in [(entry.name, own)].into_iter().chain(partner) {
            let descriptor = pool.get_message_by_name(name).unwrap_or_else(|| panic!("{name}"));
            let mut generator = Generator::new(seed);
            for _ in 0..INSTANCES {
                let message = generator.message(&descriptor, 0);
                check(entry, names, &descriptor, message);
            }
        }
    }
}

#[test]
fn every_definition_has_a_type() {
    // The operator API exists in v1 only. These differ on the wire from their v1 forms, and no
    // Mesos process sends them.
    const OPERATOR_V0: [&str; 3] =
        ["mesos.master.Call", "mesos.master.Call.DrainAgent", "mesos.master.Call.SetQuota"];
    let without: Vec<String> = definitions()
        .all_messages()
        .filter(|message| !message.is_map_entry())
        .map(|message| message.full_name().to_owned())
        .filter(|name| super::entry(name).is_none())
        .collect();
    assert_eq!(without, OPERATOR_V0);
}

#[test]
fn every_type_survives_the_binary_encoding() {
    for_each_type(|entry, _, descriptor, message| {
        let bytes = message.encode_to_vec();
        let ours =
            (entry.reencode)(&bytes).unwrap_or_else(|error| panic!("{}: {error}", entry.name));
        let read = DynamicMessage::decode(descriptor.clone(), ours.as_slice()).unwrap();
        assert_eq!(read, message, "{}", entry.name);
    });
}

#[test]
fn every_type_has_the_json_of_mesos() {
    let options = SerializeOptions::new()
        .stringify_64_bit_integers(false)
        .use_proto_field_name(true)
        .skip_default_fields(true);
    for_each_type(|entry, names, descriptor, mut message| {
        if entry.name == "google.protobuf.Duration" {
            return;
        }
        let ours = (entry.to_json)(&message.encode_to_vec(), names).unwrap();
        set_defaults(&mut message);
        let expected =
            message.serialize_with_options(serde_json::value::Serializer, &options).unwrap();
        let read: serde_json::Value = serde_json::from_str(&ours).unwrap();
        assert_eq!(read, expected, "{}", entry.name);

        let bytes = (entry.from_json)(ours.as_bytes(), names)
            .unwrap_or_else(|error| panic!("{}: {error}", entry.name));
        let back = DynamicMessage::decode(descriptor.clone(), bytes.as_slice()).unwrap();
        assert_eq!(back, message, "{}", entry.name);
    });
}
