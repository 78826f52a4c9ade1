//! Properties of the Rust types that follow from all definitions together.

use std::collections::{BTreeMap, BTreeSet};

use super::model::{Field, Kind, Label, Message, Model};

/// Optional messages larger than this are boxed: most are absent, and a task should not carry room
/// for everything it might have.
const MAX_INLINE_BYTES: usize = 256;

/// Facts about messages that need the whole model.
#[derive(Debug)]
pub struct Shapes<'a> {
    model: &'a Model,
    /// For each message those it holds in singular fields, directly or through others.
    holds: BTreeMap<&'a str, BTreeSet<&'a str>>,
    /// Messages with a float somewhere inside: no `Eq`, `Ord`, `Hash`.
    floats: BTreeSet<&'a str>,
}

impl<'a> Shapes<'a> {
    pub fn new(model: &'a Model) -> Self {
        let singular = |field: &Field| matches!(field.label, Label::Required | Label::Optional);
        let holds = closure(model, singular);
        let contains = closure(model, |_| true);
        let has_float = |message: &Message| {
            message.fields.iter().any(|field| matches!(field.kind, Kind::Double | Kind::Float))
        };
        let floats = contains
            .iter()
            .filter(|(name, inner)| {
                inner.iter().chain([*name]).any(|name| has_float(&model.messages[*name]))
            })
            .map(|(name, _)| *name)
            .collect();
        Self { model, holds, floats }
    }

    pub fn has_float(&self, message: &str) -> bool {
        self.floats.contains(message)
    }

    /// Whether an optional field of `message` is boxed.
    pub fn boxed(&self, message: &str, field: &Field) -> bool {
        let Kind::Message(target) = &field.kind else { return false };
        field.label == Label::Optional
            && (target == message
                || self.holds[target.as_str()].contains(message)
                || self.size(target) > MAX_INLINE_BYTES)
    }

    /// About how many bytes the message takes. Only called for messages that do not hold themselves
    /// other than in a box.
    fn size(&self, message: &str) -> usize {
        let fields = &self.model.messages[message].fields;
        8 + fields.iter().map(|field| self.field_size(message, field)).sum::<usize>()
    }

    fn field_size(&self, message: &str, field: &Field) -> usize {
        if matches!(field.label, Label::Repeated | Label::Map) {
            return 24;
        }
        let optional = field.label == Label::Optional;
        match &field.kind {
            Kind::Double | Kind::Int64 | Kind::Uint64 => 8 + if optional { 8 } else { 0 },
            Kind::Float | Kind::Int32 | Kind::Uint32 => 4 + if optional { 4 } else { 0 },
            Kind::Bool | Kind::Enum(_) => 1,
            Kind::Text | Kind::Bytes => 24,
            Kind::Message(_) if self.boxed(message, field) => 8,
            Kind::Message(target) => self.size(target),
        }
    }
}

/// For each message all messages reached through fields that `follow` accepts.
fn closure(model: &Model, follow: impl Fn(&Field) -> bool) -> BTreeMap<&str, BTreeSet<&str>> {
    let direct: BTreeMap<&str, Vec<&str>> = model
        .messages
        .iter()
        .map(|(name, message)| {
            let followed = message.fields.iter().filter(|field| follow(field));
            let targets = followed.filter_map(|field| {
                if let Kind::Message(target) = &field.kind { Some(target.as_str()) } else { None }
            });
            (name.as_str(), targets.collect())
        })
        .collect();
    direct
        .keys()
        .map(|name| {
            let mut reached = BTreeSet::new();
            let mut open = direct[name].clone();
            while let Some(next) = open.pop() {
                if reached.insert(next) {
                    open.extend(&direct[next]);
                }
            }
            (*name, reached)
        })
        .collect()
}
