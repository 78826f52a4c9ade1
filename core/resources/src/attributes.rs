use std::fmt;

use protocol::mesos;
use protocol::mesos::value::Type;

use crate::value::{ParseValueError, Parsed, Ranges, tokenize};
use crate::wire::{ranges_to_wire, scalar_to_wire};
use crate::{InvalidRange, Quantity};

/// What is said about an agent, in the order it was said. A name may occur more than once.
#[derive(Clone, Debug, Default)]
pub struct Attributes(Vec<Attribute>);

/// One thing said about an agent.
#[derive(Clone, Debug)]
pub struct Attribute {
    pub name: String,
    pub value: AttributeValue,
}

/// Attributes know no sets.
#[derive(Clone, Debug)]
pub enum AttributeValue {
    /// As written; only comparing rounds it to three decimals.
    Scalar(f64),
    Ranges(Ranges),
    Text(String),
}

/// Why attributes are refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AttributeError {
    #[error("Invalid attribute key:value pair '{0}'")]
    Pair(String),
    #[error("Failed to parse attribute {name} text {text}")]
    Value {
        name: String,
        text: String,
        #[source]
        source: ParseValueError,
    },
    #[error("Bad type for attribute {name} text {text} type SET")]
    Set { name: String, text: String },
    #[error("Attribute number {0} has an empty name")]
    EmptyName(usize),
    #[error("Attribute '{name}' lacks the value of its type or has an unsupported type")]
    WrongValue { name: String },
    #[error("Attribute '{name}' has an inverted range")]
    Range {
        name: String,
        #[source]
        source: InvalidRange,
    },
}

impl Attributes {
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn iter(&self) -> std::slice::Iter<'_, Attribute> {
        self.0.iter()
    }

    /// The first attribute of this name, which is the one offer constraints look at.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&AttributeValue> {
        self.0.iter().find(|attribute| attribute.name == name).map(|attribute| &attribute.value)
    }

    /// Whether this very attribute is among them.
    #[must_use]
    pub fn contains(&self, attribute: &Attribute) -> bool {
        self.0.contains(attribute)
    }

    /// Reads what the agent flag `--attributes` takes: `rack:abc;level:10;keys:[1000-1500]`.
    /// Blanks inside a value are dropped, as Mesos does.
    ///
    /// # Errors
    /// Names the pair that is malformed, or a set.
    pub fn parse(text: &str) -> Result<Self, AttributeError> {
        tokenize(text, ";\n").map(parse_pair).collect::<Result<_, _>>().map(Self)
    }

    /// Reads attributes as an agent registers with them.
    ///
    /// # Errors
    /// An attribute has no name, or not the value its type says.
    pub fn from_wire(wire: &[mesos::Attribute]) -> Result<Self, AttributeError> {
        let read = |(index, wire): (usize, &mesos::Attribute)| {
            if wire.name.is_empty() {
                return Err(AttributeError::EmptyName(index));
            }
            Ok(Attribute { name: wire.name.clone(), value: value_from_wire(wire)? })
        };
        wire.iter().enumerate().map(read).collect::<Result<_, _>>().map(Self)
    }

    #[must_use]
    pub fn to_wire(&self) -> Vec<mesos::Attribute> {
        self.0.iter().map(Attribute::to_wire).collect()
    }
}

fn parse_pair(pair: &str) -> Result<Attribute, AttributeError> {
    let complete = |(name, text): &(&str, &str)| !name.is_empty() && !text.is_empty();
    let Some((name, text)) = pair.split_once(':').filter(complete) else {
        return Err(AttributeError::Pair(pair.to_owned()));
    };
    let owned = || (name.to_owned(), text.to_owned());
    let value = match Parsed::parse(text) {
        Ok(Parsed::Scalar(number)) => AttributeValue::Scalar(number),
        Ok(Parsed::Ranges(ranges)) => AttributeValue::Ranges(ranges),
        Ok(Parsed::Text(text)) => AttributeValue::Text(text),
        Ok(Parsed::Set(_)) => {
            let (name, text) = owned();
            return Err(AttributeError::Set { name, text });
        }
        Err(source) => {
            let (name, text) = owned();
            return Err(AttributeError::Value { name, text, source });
        }
    };
    Ok(Attribute { name: name.to_owned(), value })
}

fn value_from_wire(wire: &mesos::Attribute) -> Result<AttributeValue, AttributeError> {
    match (wire.r#type, &wire.scalar, &wire.ranges, &wire.text) {
        (Type::Scalar, Some(scalar), _, _) => Ok(AttributeValue::Scalar(scalar.value)),
        (Type::Ranges, _, Some(ranges), _) => {
            let intervals = ranges.range.iter().map(|range| (range.begin, range.end));
            Ranges::new(intervals)
                .map(AttributeValue::Ranges)
                .map_err(|source| AttributeError::Range { name: wire.name.clone(), source })
        }
        (Type::Text, _, _, Some(text)) => Ok(AttributeValue::Text(text.value.clone())),
        (Type::Scalar | Type::Ranges | Type::Text | Type::Set, ..) => {
            Err(AttributeError::WrongValue { name: wire.name.clone() })
        }
    }
}

impl Attribute {
    #[must_use]
    pub fn to_wire(&self) -> mesos::Attribute {
        let mut wire = mesos::Attribute { name: self.name.clone(), ..Default::default() };
        match &self.value {
            AttributeValue::Scalar(number) => {
                wire.r#type = Type::Scalar;
                wire.scalar = Some(scalar_to_wire(*number));
            }
            AttributeValue::Ranges(ranges) => {
                wire.r#type = Type::Ranges;
                wire.ranges = Some(ranges_to_wire(ranges));
            }
            AttributeValue::Text(text) => {
                wire.r#type = Type::Text;
                wire.text = Some(mesos::value::Text { value: text.clone(), ..Default::default() });
            }
        }
        wire
    }
}

impl PartialEq for AttributeValue {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Scalar(left), Self::Scalar(right)) => {
                let rounded = Quantity::from_f64(*left);
                left.to_bits() == right.to_bits()
                    || (rounded.is_some() && rounded == Quantity::from_f64(*right))
            }
            (Self::Ranges(left), Self::Ranges(right)) => left == right,
            (Self::Text(left), Self::Text(right)) => left == right,
            (Self::Scalar(_) | Self::Ranges(_) | Self::Text(_), _) => false,
        }
    }
}

impl PartialEq for Attribute {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name && self.value == other.value
    }
}

/// The order does not matter.
impl PartialEq for Attributes {
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len()
            && self.0.iter().all(|attribute| other.contains(attribute))
            && other.0.iter().all(|attribute| self.contains(attribute))
    }
}

impl<'a> IntoIterator for &'a Attributes {
    type Item = &'a Attribute;
    type IntoIter = std::slice::Iter<'a, Attribute>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

impl FromIterator<Attribute> for Attributes {
    fn from_iter<I: IntoIterator<Item = Attribute>>(attributes: I) -> Self {
        Self(attributes.into_iter().collect())
    }
}

impl fmt::Display for AttributeValue {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Scalar(number) => match Quantity::from_f64(*number) {
                Some(quantity) => quantity.fmt(formatter),
                None => number.fmt(formatter),
            },
            Self::Ranges(ranges) => ranges.fmt(formatter),
            Self::Text(text) => formatter.write_str(text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{AttributeValue, Attributes};
    use protocol::mesos;

    const TEXT: &str = "rack:abc;zone:west;os:centos5;level:10;keys:[1000-1500]";

    fn message(text: &str) -> String {
        Attributes::parse(text).unwrap_err().to_string()
    }

    #[test]
    fn reads_the_documented_example() {
        let attributes = Attributes::parse(TEXT).unwrap();
        assert_eq!(attributes.len(), 5);
        assert_eq!(attributes.get("rack"), Some(&AttributeValue::Text("abc".to_owned())));
        assert_eq!(attributes.get("level"), Some(&AttributeValue::Scalar(10.0)));
        assert_eq!(attributes.get("keys").unwrap().to_string(), "[1000-1500]");
        assert_eq!(attributes.get("rock"), None);
    }

    #[test]
    fn a_text_may_hold_colons_and_the_first_of_a_name_counts() {
        let attributes = Attributes::parse("url:http://a:80;x:1;x:2").unwrap();
        assert_eq!(attributes.get("url").unwrap().to_string(), "http://a:80");
        assert_eq!(attributes.get("x"), Some(&AttributeValue::Scalar(1.0)));
    }

    #[test]
    fn refuses_pairs_without_value_and_sets() {
        assert_eq!(message("rack"), "Invalid attribute key:value pair 'rack'");
        assert_eq!(message("rack:"), "Invalid attribute key:value pair 'rack:'");
        assert_eq!(message("a:{b}"), "Bad type for attribute a text {b} type SET");
        assert_eq!(message("a:[1"), "Failed to parse attribute a text [1");
        let set = mesos::Attribute {
            name: "a".to_owned(),
            r#type: mesos::value::Type::Set,
            ..Default::default()
        };
        assert!(Attributes::from_wire(&[set]).is_err());
    }

    #[test]
    fn survive_the_wire_and_compare_in_any_order() {
        let attributes = Attributes::parse(TEXT).unwrap();
        assert_eq!(Attributes::from_wire(&attributes.to_wire()).unwrap(), attributes);
        let turned = Attributes::parse("b:2;a:1").unwrap();
        assert_eq!(Attributes::parse("a:1;b:2").unwrap(), turned);
        assert_ne!(Attributes::parse("a:1;b:2.001").unwrap(), turned);
    }
}
