//! Writes one message.

use crate::generate::model::{Field, Kind, Label, Message, Model};
use crate::generate::names;
use crate::generate::shape::Shapes;

/// One message while it is written.
struct Writer<'a> {
    model: &'a Model,
    shapes: &'a Shapes<'a>,
    key: &'a str,
    message: &'a Message,
    text: String,
}

/// The struct and its `Message` implementation.
pub fn render(model: &Model, shapes: &Shapes<'_>, key: &str, message: &Message) -> String {
    let mut writer = Writer { model, shapes, key, message, text: String::from("\n") };
    writer.structure();
    writer.implementation();
    writer.defaults();
    writer.text
}

impl Writer<'_> {
    fn line(&mut self, line: &str) {
        self.text.push_str(line);
        self.text.push('\n');
    }

    fn structure(&mut self) {
        let Message { full_name, v0_name, place, fields } = self.message;
        self.line(&format!("/// `{full_name}`."));
        if let Some(v0_name) = v0_name
            && *v0_name != full_name.replacen("mesos.v1", "mesos", 1)
        {
            self.line(&format!("///\n/// In v0 `{v0_name}`."));
        }
        self.line(if self.shapes.has_float(self.key) {
            "#[derive(Clone, Debug, Default, PartialEq)]"
        } else {
            "#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]"
        });
        self.line(&format!("pub struct {} {{", place.name));
        for field in fields {
            let documentation = match (&field.v0, &field.v1) {
                (Some(v0), Some(v1)) if v0 != v1 => {
                    format!("`{v1}` = {}, in v0 `{v0}`", field.number)
                }
                _ => format!("`{}` = {}", field.name(), field.number),
            };
            let name = names::identifier(field.name());
            let kind = self.field_type(field);
            self.line(&format!("/// {documentation}\npub {name}: {kind},"));
        }
        self.line(
            "/// Fields that are not in the definition.\npub unknown: crate::UnknownFields,\n}",
        );
    }

    fn field_type(&self, field: &Field) -> String {
        let value = self.value_type(&field.kind);
        match field.label {
            Label::Required => value,
            Label::Optional if self.shapes.boxed(self.key, field) => {
                format!("Option<Box<{value}>>")
            }
            Label::Optional => format!("Option<{value}>"),
            Label::Repeated => format!("Vec<{value}>"),
            Label::Map => format!("std::collections::BTreeMap<String, {value}>"),
        }
    }

    fn value_type(&self, kind: &Kind) -> String {
        match kind {
            Kind::Double => "f64".to_owned(),
            Kind::Float => "f32".to_owned(),
            Kind::Int32 => "i32".to_owned(),
            Kind::Int64 => "i64".to_owned(),
            Kind::Uint32 => "u32".to_owned(),
            Kind::Uint64 => "u64".to_owned(),
            Kind::Bool => "bool".to_owned(),
            Kind::Text => "String".to_owned(),
            Kind::Bytes => "Vec<u8>".to_owned(),
            Kind::Enum(key) => self.model.enums[key].place.path(),
            Kind::Message(key) => self.model.messages[key].place.path(),
        }
    }

    fn implementation(&mut self) {
        let message = self.message;
        self.line(&format!("\nimpl crate::Message for {} {{", message.place.name));
        self.line(&format!("const FULL_NAME: &'static str = {:?};", message.full_name));
        self.line("const FIELDS: &'static [crate::FieldInfo] = &[");
        for field in &message.fields {
            let (v0, v1) = both_names(field);
            let bit = self.bit(field);
            let number = field.number;
            self.line(&format!("crate::FieldInfo::new({number}, {v0:?}, {v1:?}, {bit}),"));
        }
        self.line("];");
        let required = message.fields.iter().filter(|field| field.label == Label::Required).count();
        let mask = u64::MAX.checked_shr(64 - u32::try_from(required).unwrap_or(64)).unwrap_or(0);
        self.line(&format!("const REQUIRED: u64 = {mask};\n"));
        self.encode();
        self.decode();
        self.write_json();
        self.read_json();
        self.line(
            "\nfn unknown_mut(&mut self) -> &mut crate::UnknownFields {\n&mut self.unknown\n}\n}",
        );
    }

    /// The bit of a required field, 0 for others.
    fn bit(&self, field: &Field) -> u64 {
        let required = self.message.fields.iter().filter(|other| other.label == Label::Required);
        match required.enumerate().find(|(_, other)| other.number == field.number) {
            Some((index, _)) => 1 << index,
            None => 0,
        }
    }

    fn encode(&mut self) {
        self.line("fn encode_fields(&self, output: &mut Vec<u8>) {");
        let mut fields: Vec<&Field> = self.message.fields.iter().collect();
        fields.sort_by_key(|field| field.number);
        for field in fields {
            let function = match field.label {
                Label::Required => "required",
                Label::Optional => "optional",
                Label::Repeated => "repeated",
                Label::Map => "map",
            };
            let value = self.reference(field);
            self.line(&format!("crate::wire::{function}(output, {}, {value});", field.number));
        }
        self.line("crate::wire::unknown(output, &self.unknown);\n}\n");
    }

    /// The argument that hands a field to an encoder.
    fn reference(&self, field: &Field) -> String {
        let name = names::identifier(field.name());
        match field.label {
            Label::Optional if self.shapes.boxed(self.key, field) => {
                format!("self.{name}.as_deref()")
            }
            Label::Optional => format!("self.{name}.as_ref()"),
            Label::Required | Label::Repeated | Label::Map => format!("&self.{name}"),
        }
    }

    fn decode(&mut self) {
        if self.message.fields.is_empty() {
            self.line(
                "fn decode_field(&mut self, field: &crate::Field<'_>, \
                 decoding: &mut crate::Decoding) \
                 -> Result<(), crate::DecodeError> {\nfield.unknown(decoding)\n}\n",
            );
            return;
        }
        self.line(
            "fn decode_field(&mut self, field: &crate::Field<'_>, decoding: &mut crate::Decoding) \
             -> Result<(), crate::DecodeError> {\nmatch field.number {",
        );
        for field in &self.message.fields {
            let call = self.take(field, "field", "decoding");
            self.line(&format!("{} => {call},", field.number));
        }
        self.line("_ => field.unknown(decoding),\n}\n}\n");
    }

    fn read_json(&mut self) {
        if self.message.fields.is_empty() {
            self.line(
                "fn read_json_field(&mut self, _: u32, _: &serde_json::Value, \
                 _: &mut crate::json::ObjectReader<'_>) \
                 -> Result<(), crate::JsonError> {\nOk(())\n}",
            );
            return;
        }
        self.line(
            "fn read_json_field(&mut self, number: u32, value: &serde_json::Value, \
             reader: &mut crate::json::ObjectReader<'_>) \
             -> Result<(), crate::JsonError> {\nmatch number {",
        );
        for field in &self.message.fields {
            let call = self.take(field, "reader", "value");
            self.line(&format!("{} => {call},", field.number));
        }
        self.line("_ => Ok(()),\n}\n}");
    }

    /// The call that takes one field from the wire or from JSON. Setting a member of a oneof unsets
    /// the others.
    fn take(&self, field: &Field, receiver: &str, argument: &str) -> String {
        let name = names::identifier(field.name());
        let call = match field.label {
            Label::Required => {
                format!("{receiver}.required(&mut self.{name}, {}, {argument})", self.bit(field))
            }
            Label::Optional if self.shapes.boxed(self.key, field) => {
                format!("{receiver}.optional_box(&mut self.{name}, {argument})")
            }
            Label::Optional => format!("{receiver}.optional(&mut self.{name}, {argument})"),
            Label::Repeated => format!("{receiver}.repeated(&mut self.{name}, {argument})"),
            Label::Map => format!("{receiver}.map(&mut self.{name}, {argument})"),
        };
        let others: Vec<String> = self
            .message
            .fields
            .iter()
            .filter(|other| other.oneof.is_some() && other.oneof == field.oneof)
            .filter(|other| other.number != field.number)
            .map(|other| format!("self.{} = None;", names::identifier(other.name())))
            .collect();
        if others.is_empty() { call } else { format!("{{ {} {call} }}", others.concat()) }
    }

    fn write_json(&mut self) {
        let writer = if self.message.fields.is_empty() { "_" } else { "writer" };
        self.line(&format!(
            "fn write_json_fields(&self, {writer}: &mut crate::json::ObjectWriter<'_>) {{"
        ));
        for field in &self.message.fields {
            let (v0, v1) = both_names(field);
            let name =
                if v0 == v1 { format!("{v1:?}") } else { format!("writer.pick({v0:?}, {v1:?})") };
            let value = self.reference(field);
            let call = match field.label {
                // v1 does not know the field's default, so only set ones are shown there.
                Label::Optional if field.default.is_some() && field.only_v0 => {
                    let name = format!("{name}, &self.{}()", names::identifier(field.name()));
                    format!("v0_defaulted({name}, {value})")
                }
                Label::Optional if field.default.is_some() && !field.deprecated => {
                    format!("required({name}, &self.{}())", names::identifier(field.name()))
                }
                Label::Required => format!("required({name}, {value})"),
                Label::Optional => format!("optional({name}, {value})"),
                Label::Repeated => format!("repeated({name}, {value})"),
                Label::Map => format!("map({name}, {value})"),
            };
            self.line(&format!("writer.{call};"));
        }
        self.line("}\n");
    }

    /// Getters of optional fields with an explicit default.
    fn defaults(&mut self) {
        let with_default: Vec<&Field> = self
            .message
            .fields
            .iter()
            .filter(|field| field.label == Label::Optional && field.default.is_some())
            .collect();
        if with_default.is_empty() {
            return;
        }
        self.line(&format!("\nimpl {} {{", self.message.place.name));
        for field in with_default {
            let name = names::identifier(field.name());
            let default = field.default.as_deref().unwrap_or_default();
            let (kind, get, value) = match &field.kind {
                Kind::Text => ("String".to_owned(), ".clone()", format!("{default:?}.to_owned()")),
                Kind::Bytes => ("Vec<u8>".to_owned(), ".clone()", format!("b{default:?}.to_vec()")),
                Kind::Enum(key) => {
                    let path = self.model.enums[key].place.path();
                    let variant = names::variant(default);
                    (path.clone(), "", format!("{path}::{variant}"))
                }
                Kind::Double | Kind::Float => {
                    let point = if default.contains(['.', 'e']) { "" } else { ".0" };
                    (self.value_type(&field.kind), "", format!("{default}{point}"))
                }
                Kind::Int32
                | Kind::Int64
                | Kind::Uint32
                | Kind::Uint64
                | Kind::Bool
                | Kind::Message(_) => (self.value_type(&field.kind), "", default.to_owned()),
            };
            let otherwise = if get.is_empty() {
                format!("unwrap_or({value})")
            } else {
                format!("unwrap_or_else(|| {value})")
            };
            self.line(&format!(
                "/// `{}`, or its default.\n#[must_use]\npub fn {name}(&self) -> {kind} {{\n\
                 self.{name}{get}.{otherwise}\n}}\n",
                field.name()
            ));
        }
        self.line("}");
    }
}

/// The names in v0 and v1 JSON; empty where the field does not exist.
fn both_names(field: &Field) -> (&str, &str) {
    (field.v0.as_deref().unwrap_or_default(), field.v1.as_deref().unwrap_or_default())
}
