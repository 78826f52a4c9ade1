//! Builds the model: matches v0 and v1 types and their fields by number.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, bail, ensure};
use prost_types::field_descriptor_proto::{Label as ProtoLabel, Type};
use prost_types::{DescriptorProto, EnumDescriptorProto, FieldDescriptorProto, FileDescriptorSet};

use super::model::{Enum, EnumValue, Field, Kind, Label, Message, Model};
use super::names;

/// A type of one file, with its full name.
struct Found<'a, T> {
    package: &'a str,
    item: &'a T,
    partner: Option<String>,
}

/// All types of all files, by full name.
#[derive(Default)]
struct Index<'a> {
    messages: BTreeMap<String, Found<'a, DescriptorProto>>,
    enums: BTreeMap<String, Found<'a, EnumDescriptorProto>>,
    /// v0 messages that differ on the wire from their partner.
    different: BTreeSet<String>,
}

/// Builds the model of all files.
///
/// # Errors
/// A definition that uses what the generator does not know.
pub fn pair(set: &FileDescriptorSet) -> anyhow::Result<Model> {
    let mut index = Index::default();
    for file in &set.file {
        let package = file.package();
        for message in &file.message_type {
            index.add_message(package, package, message);
        }
        for item in &file.enum_type {
            index.add_enum(package, package, item);
        }
    }
    index.keep_real_partners();
    index.find_differences()?;
    index.model()
}

impl<'a> Index<'a> {
    fn add_message(&mut self, package: &'a str, outer: &str, message: &'a DescriptorProto) {
        if is_map_entry(message) {
            return;
        }
        let name = format!("{outer}.{}", message.name());
        for nested in &message.nested_type {
            self.add_message(package, &name, nested);
        }
        for item in &message.enum_type {
            self.add_enum(package, &name, item);
        }
        let partner = names::partner(package, &name);
        self.messages.insert(name, Found { package, item: message, partner });
    }

    fn add_enum(&mut self, package: &'a str, outer: &str, item: &'a EnumDescriptorProto) {
        let name = format!("{outer}.{}", item.name());
        let partner = names::partner(package, &name);
        self.enums.insert(name, Found { package, item, partner });
    }

    /// Forgets partners that do not exist.
    fn keep_real_partners(&mut self) {
        let messages: BTreeSet<String> = self.messages.keys().cloned().collect();
        for found in self.messages.values_mut() {
            found.partner.take_if(|partner| !messages.contains(partner));
        }
        let enums: BTreeSet<String> = self.enums.keys().cloned().collect();
        for found in self.enums.values_mut() {
            found.partner.take_if(|partner| !enums.contains(partner));
        }
    }

    /// The key of a message: the partner's name unless the two differ on the wire.
    fn message_key(&self, name: &str) -> String {
        match self.messages.get(name).and_then(|found| found.partner.clone()) {
            Some(partner) if !self.different.contains(name) => partner,
            _ => name.to_owned(),
        }
    }

    fn enum_key(&self, name: &str) -> String {
        let partner = self.enums.get(name).and_then(|found| found.partner.clone());
        partner.unwrap_or_else(|| name.to_owned())
    }

    /// Finds the v0 messages that differ, until those that contain a differing one are found too.
    fn find_differences(&mut self) -> anyhow::Result<()> {
        loop {
            let mut more = Vec::new();
            for (name, found) in &self.messages {
                let Some(partner) = &found.partner else { continue };
                if self.different.contains(name) {
                    continue;
                }
                let v0 = self.fields(found.item)?;
                let v1 = self.fields(self.messages[partner].item)?;
                if v0.iter().any(|field| !fits(field, &v1)) {
                    more.push(name.clone());
                }
            }
            if more.is_empty() {
                return Ok(());
            }
            self.different.extend(more);
        }
    }

    /// The fields of one definition, with the name in both tables.
    fn fields(&self, message: &DescriptorProto) -> anyhow::Result<Vec<Field>> {
        message
            .field
            .iter()
            .map(|field| {
                self.field(message, field)
                    .with_context(|| format!("{}.{}", message.name(), field.name()))
            })
            .collect()
    }

    fn field(
        &self,
        message: &DescriptorProto,
        field: &FieldDescriptorProto,
    ) -> anyhow::Result<Field> {
        let mut label = match field.label() {
            ProtoLabel::Required => Label::Required,
            ProtoLabel::Optional => Label::Optional,
            ProtoLabel::Repeated => Label::Repeated,
        };
        let mut kind = self.kind(field)?;
        if let Some(entry) = message.nested_type.iter().find(|nested| {
            is_map_entry(nested) && field.type_name().rsplit('.').next() == Some(nested.name())
        }) {
            label = Label::Map;
            ensure!(entry.field[0].r#type() == Type::String, "map keys must be strings");
            kind = self.kind(&entry.field[1])?;
        }
        let options = field.options.as_ref();
        Ok(Field {
            number: u32::try_from(field.number())?,
            v0: Some(field.name().to_owned()),
            v1: Some(field.name().to_owned()),
            only_v0: false,
            label,
            kind,
            default: field.default_value.clone(),
            deprecated: options.is_some_and(prost_types::FieldOptions::deprecated),
            oneof: field.oneof_index,
        })
    }

    fn kind(&self, field: &FieldDescriptorProto) -> anyhow::Result<Kind> {
        let target = field.type_name().trim_start_matches('.');
        Ok(match field.r#type() {
            Type::Double => Kind::Double,
            Type::Float => Kind::Float,
            Type::Int32 => Kind::Int32,
            Type::Int64 => Kind::Int64,
            Type::Uint32 => Kind::Uint32,
            Type::Uint64 => Kind::Uint64,
            Type::Bool => Kind::Bool,
            Type::String => Kind::Text,
            Type::Bytes => Kind::Bytes,
            Type::Enum => Kind::Enum(self.enum_key(target)),
            Type::Message => Kind::Message(self.message_key(target)),
            other @ (Type::Fixed64
            | Type::Fixed32
            | Type::Group
            | Type::Sfixed32
            | Type::Sfixed64
            | Type::Sint32
            | Type::Sint64) => bail!("fields of type {other:?} are not used by Mesos"),
        })
    }

    fn model(&self) -> anyhow::Result<Model> {
        let mut model = Model::default();
        let v0_names: BTreeMap<&String, &String> = self
            .messages
            .iter()
            .filter(|(name, _)| !self.different.contains(*name))
            .filter_map(|(name, found)| Some((found.partner.as_ref()?, name)))
            .collect();
        for (name, found) in &self.messages {
            let different = self.different.contains(name);
            if found.partner.is_some() && !different {
                continue;
            }
            // The operator APIs exist in v1 only; nothing on the wire has their v0 types.
            if different && matches!(found.package, "mesos.master" | "mesos.agent") {
                continue;
            }
            let message = self.message(name, found, v0_names.get(name).copied(), different)?;
            model.messages.insert(name.clone(), message);
        }
        for (name, found) in &self.enums {
            if found.partner.is_none() {
                model.enums.insert(name.clone(), self.enumeration(name, found));
            }
        }
        Ok(model)
    }

    fn message(
        &self,
        name: &str,
        found: &Found<'_, DescriptorProto>,
        v0_name: Option<&String>,
        different: bool,
    ) -> anyhow::Result<Message> {
        let mut fields = self.fields(found.item)?;
        if let Some(v0_name) = v0_name {
            let v0 = self.fields(self.messages[v0_name].item)?;
            for field in &mut fields {
                let same = v0.iter().find(|candidate| candidate.number == field.number);
                field.v0 = same.and_then(|same| same.v0.clone());
            }
            // Fields only v0 has stand where they stand there. Mesos writes the v1 JSON of agents
            // from the v0 message with other names, so they are in v1 JSON too
            // (`src/common/http.cpp`, `asV1Protobuf`).
            for (position, field) in v0.into_iter().enumerate() {
                if fields.iter().all(|known| known.number != field.number) {
                    let v1 = field.v0.as_ref().map(|name| name.replace("slave", "agent"));
                    fields.insert(position.min(fields.len()), Field { v1, only_v0: true, ..field });
                }
            }
        }
        ensure!(
            fields.iter().filter(|field| field.label == Label::Required).count() <= 64,
            "{name} has more required fields than bits"
        );
        Ok(Message {
            full_name: name.to_owned(),
            v0_name: v0_name.cloned(),
            place: names::place(found.package, name, different),
            fields,
        })
    }

    fn enumeration(&self, name: &str, found: &Found<'_, EnumDescriptorProto>) -> Enum {
        let v0 = self.enums.iter().find(|(_, other)| other.partner.as_deref() == Some(name));
        let mut values: Vec<EnumValue> = Vec::new();
        for value in &found.item.value {
            let text = Some(value.name().to_owned());
            values.push(EnumValue { number: value.number(), v0: text.clone(), v1: text });
        }
        if let Some((_, v0)) = v0 {
            for value in &mut values {
                let mut same = v0.item.value.iter();
                value.v0 = same
                    .find(|candidate| candidate.number() == value.number)
                    .map(|same| same.name().to_owned());
            }
            for value in &v0.item.value {
                if values.iter().all(|known| known.number != value.number()) {
                    let text = Some(value.name().to_owned());
                    values.push(EnumValue { number: value.number(), v0: text, v1: None });
                }
            }
        }
        Enum {
            full_name: name.to_owned(),
            v0_name: v0.map(|(name, _)| name.clone()),
            place: names::place(found.package, name, false),
            values,
        }
    }
}

fn is_map_entry(message: &DescriptorProto) -> bool {
    message.options.as_ref().is_some_and(prost_types::MessageOptions::map_entry)
}

/// Whether a v0 field is the same on the wire in v1, or is absent there.
fn fits(v0: &Field, v1: &[Field]) -> bool {
    v1.iter()
        .find(|candidate| candidate.number == v0.number)
        .is_none_or(|v1| v0.label == v1.label && v0.kind == v1.kind && v0.default == v1.default)
}
