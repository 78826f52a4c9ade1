//! What is generated: messages and enums with both sets of names.

use std::collections::BTreeMap;

/// Everything that gets a Rust type, by its key.
///
/// The key is the full protobuf name, the v1 one of a pair; a v0 message that differs on the wire
/// from its v1 partner has its v0 name.
#[derive(Debug, Default)]
pub struct Model {
    pub messages: BTreeMap<String, Message>,
    pub enums: BTreeMap<String, Enum>,
}

/// Where a type stands in the generated code.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The module and the modules of the outer messages, such as `mesos`, `offer`.
    pub modules: Vec<String>,
    /// The type's name.
    pub name: String,
}

impl Place {
    /// The path from the crate's root.
    pub fn path(&self) -> String {
        format!("crate::{}::{}", self.modules.join("::"), self.name)
    }
}

#[derive(Debug)]
pub struct Message {
    pub full_name: String,
    /// The v0 partner's name, if there is one.
    pub v0_name: Option<String>,
    pub place: Place,
    /// In the order of the definition.
    pub fields: Vec<Field>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Field {
    pub number: u32,
    /// Absent when v0 has no such field.
    pub v0: Option<String>,
    /// A field only v0 has keeps its name here: Mesos shows it in v1 JSON too.
    pub v1: Option<String>,
    /// The v1 definition lacks the field.
    pub only_v0: bool,
    pub label: Label,
    pub kind: Kind,
    /// The explicit default, as in the definition.
    pub default: Option<String>,
    pub deprecated: bool,
    /// The oneof the field belongs to.
    pub oneof: Option<i32>,
}

impl Field {
    /// The name in Rust and in error texts.
    pub fn name(&self) -> &str {
        self.v1.as_deref().or(self.v0.as_deref()).unwrap_or_default()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Label {
    Required,
    Optional,
    Repeated,
    /// A map with string keys; the kind is the value's.
    Map,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    Double,
    Float,
    Int32,
    Int64,
    Uint32,
    Uint64,
    Bool,
    Text,
    Bytes,
    /// The key of an enum.
    Enum(String),
    /// The key of a message.
    Message(String),
}

#[derive(Debug)]
pub struct Enum {
    pub full_name: String,
    pub v0_name: Option<String>,
    pub place: Place,
    /// In the order of the definition; the first one is the default.
    pub values: Vec<EnumValue>,
}

#[derive(Debug)]
pub struct EnumValue {
    pub number: i32,
    pub v0: Option<String>,
    pub v1: Option<String>,
}

impl EnumValue {
    /// The name in Rust.
    pub fn name(&self) -> &str {
        self.v1.as_deref().or(self.v0.as_deref()).unwrap_or_default()
    }
}
