//! Random messages of any type, built by another protobuf implementation from the definitions.

use prost_reflect::{
    Cardinality, DescriptorPool, DynamicMessage, FieldDescriptor, Kind, MapKey, MessageDescriptor,
    ReflectMessage as _, Value,
};

use super::repository;
use crate::uuid::UuidSource;

/// Below this depth optional and repeated fields stay unset.
const MAX_DEPTH: u32 = 4;

/// Google's duration has a JSON form of its own in the oracle, not in Mesos.
const DURATION: &str = "google.protobuf.Duration";

/// All definitions in `proto/`.
pub(super) fn definitions() -> DescriptorPool {
    let root = repository("proto");
    let mut compiler = protox::Compiler::new([&root]).unwrap();
    for folder in ["mesos", "mesos/v1"] {
        compiler.open_file(root.join(folder).join("mesos.proto")).unwrap();
        for package in [
            "agent",
            "allocator",
            "executor",
            "maintenance",
            "master",
            "quota",
            "resource_provider",
            "scheduler",
        ] {
            let file = root.join(folder).join(package).join(format!("{package}.proto"));
            compiler.open_file(file).unwrap();
        }
    }
    for file in [
        "master/registry.proto",
        "mesos/authentication/authentication.proto",
        "mesos/authorizer/acls.proto",
        "mesos/slave/containerizer.proto",
        "mesos/state/state.proto",
        "messages/messages.proto",
        "messages/state.proto",
        "slave/state.proto",
    ] {
        compiler.open_file(root.join(file)).unwrap();
    }
    compiler.descriptor_pool()
}

/// Makes random messages; the same seed gives the same ones.
pub(super) struct Generator {
    random: UuidSource,
}

impl Generator {
    pub(super) fn new(seed: u64) -> Self {
        Self { random: UuidSource::new(seed) }
    }

    /// A number below `bound`.
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.random.next_u64() % bound
    }

    /// A message with all required fields and some of the others.
    pub(super) fn message(&mut self, descriptor: &MessageDescriptor, depth: u32) -> DynamicMessage {
        let mut message = DynamicMessage::new(descriptor.clone());
        for field in descriptor.fields() {
            if matches!(field.kind(), Kind::Message(inner) if inner.full_name() == DURATION) {
                continue;
            }
            let required = field.cardinality() == Cardinality::Required;
            if required || (depth < MAX_DEPTH && self.below(10) < 6) {
                let value = self.field(&field, depth);
                // The oracle takes an empty list for something other than an unset one.
                if field.supports_presence() || !value.is_default_for_field(&field) {
                    message.set_field(&field, value);
                }
            }
        }
        message
    }

    fn field(&mut self, field: &FieldDescriptor, depth: u32) -> Value {
        let count = self.below(3);
        if field.is_map() {
            let Kind::Message(entry) = field.kind() else { unreachable!() };
            let value = entry.map_entry_value_field();
            let entries = (0..count)
                .map(|_| (MapKey::String(self.text()), self.value(&value.kind(), depth)))
                .collect();
            return Value::Map(entries);
        }
        if field.is_list() {
            return Value::List((0..count).map(|_| self.value(&field.kind(), depth)).collect());
        }
        self.value(&field.kind(), depth)
    }

    fn value(&mut self, kind: &Kind, depth: u32) -> Value {
        let bits = self.random.next_u64() >> self.below(64);
        let signed = i64::from_ne_bytes(bits.to_ne_bytes());
        match kind {
            Kind::Double => Value::F64(self.double()),
            Kind::Float => Value::F32(0.5),
            Kind::Int32 => Value::I32(i32::try_from(signed >> 33).unwrap()),
            Kind::Int64 => Value::I64(signed),
            Kind::Uint32 => Value::U32(u32::try_from(bits >> 32).unwrap()),
            Kind::Uint64 => Value::U64(bits),
            Kind::Bool => Value::Bool(bits & 1 == 1),
            Kind::String => Value::String(self.text()),
            Kind::Bytes => Value::Bytes(bits.to_le_bytes().to_vec().into()),
            Kind::Enum(descriptor) => {
                let numbers: Vec<i32> = descriptor.values().map(|value| value.number()).collect();
                let index = self.below(numbers.len() as u64);
                Value::EnumNumber(numbers[usize::try_from(index).unwrap()])
            }
            Kind::Message(descriptor) => Value::Message(self.message(descriptor, depth + 1)),
            Kind::Sint32
            | Kind::Sint64
            | Kind::Fixed32
            | Kind::Fixed64
            | Kind::Sfixed32
            | Kind::Sfixed64 => panic!("Mesos has no fields of kind {kind:?}"),
        }
    }

    fn double(&mut self) -> f64 {
        const DOUBLES: [f64; 9] = [0.0, 1.0, -0.1, 1e300, 1.5e-7, 123_456.789, 1e16, 1e21, 5e-5];
        DOUBLES[usize::try_from(self.below(9)).unwrap()]
    }

    fn text(&mut self) -> String {
        const PIECES: [&str; 8] = ["a", "*", "ünïcode", "\"", "\\", "\n", "\u{1}", "0123456789"];
        let length = self.below(5);
        (0..length).map(|_| PIECES[usize::try_from(self.below(8)).unwrap()]).collect()
    }
}

/// Sets every unset optional field that has an explicit default and is not deprecated, as Mesos'
/// JSON shows them.
pub(super) fn set_defaults(message: &mut DynamicMessage) {
    let descriptor = message.descriptor();
    for field in descriptor.fields() {
        let definition = field.field_descriptor_proto();
        let deprecated = definition.options.as_ref().is_some_and(|options| options.deprecated());
        if definition.default_value.is_some() && !deprecated && !message.has_field(&field) {
            message.set_field(&field, field.default_value());
        }
    }
    let set: Vec<FieldDescriptor> = message.fields().map(|(field, _)| field).collect();
    for field in set {
        let value = message.get_field_mut(&field);
        if let Some(values) = value.as_list_mut() {
            values.iter_mut().for_each(set_value_defaults);
        } else if let Some(entries) = value.as_map_mut() {
            entries.values_mut().for_each(set_value_defaults);
        } else {
            set_value_defaults(value);
        }
    }
}

fn set_value_defaults(value: &mut Value) {
    if let Value::Message(inner) = value {
        set_defaults(inner);
    }
}
