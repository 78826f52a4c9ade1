//! Offer constraints: what a framework demands of agents before it wants an offer in a role
//! (`OfferConstraints` in `scheduler.proto`).

use std::collections::BTreeMap;
use std::sync::Arc;

use protocol::mesos::{self, value};
use protocol::scheduler;
use protocol::scheduler::AttributeConstraint;
use protocol::scheduler::attribute_constraint::selector::PseudoattributeType;
use protocol::scheduler::attribute_constraint::{
    Predicate as WirePredicate, Selector as WireSelector,
};

use crate::profile::AgentProfile;
use pattern::Pattern;

mod demands;
mod pattern;
mod re2;
#[cfg(test)]
mod tests;

pub(crate) use demands::{Demand, Demands, Verdicts};
pub use pattern::{ConstraintLimits, PatternError};

/// The constraints of a framework in one role: an agent must meet all of at least one group.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct OfferConstraints {
    groups: Vec<Vec<Constraint>>,
}

/// Why constraints are refused, in Mesos' words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConstraintError {
    /// A role without groups.
    #[error(
        "'OfferConstraints::role_constraints' has an empty 'RoleConstraints::groups' for role {role}"
    )]
    NoGroups {
        /// The role.
        role: String,
    },
    /// A group without constraints.
    #[error(
        "'OfferConstraints::RoleConstraints::groups' for role {role}contains an empty \
         RoleConstraints::Group"
    )]
    EmptyGroup {
        /// The role.
        role: String,
    },
    /// A constraint without meaning.
    #[error("A role {role} has an invalid 'AttributeConstraint': {reason}")]
    Constraint {
        /// The role.
        role: String,
        /// What is wrong with it. Part of the text, as clients get this and nothing else.
        reason: InvalidConstraint,
    },
}

/// What is wrong with a constraint.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidConstraint {
    /// `Selector.pseudoattribute_type` is UNKNOWN.
    #[error("Unknown pseudoattribute type")]
    UnknownPseudoattribute,
    /// `Selector` has no field set, or several.
    #[error(
        "Exactly one of 'AttributeConstraint::Selector::name' or \
         'AttributeConstraint::Selector::pseudoattribute_type' must be set"
    )]
    Selector,
    /// `Predicate` has no field set, or several.
    #[error("Unknown predicate type")]
    UnknownPredicate,
    /// A regular expression is refused.
    #[error(transparent)]
    Pattern(#[from] PatternError),
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Constraint {
    selector: Selector,
    predicate: Predicate,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Selector {
    /// The first attribute with this name.
    Attribute(String),
    Hostname,
    Region,
    Zone,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Predicate {
    Exists,
    NotExists,
    TextEquals(String),
    TextNotEquals(String),
    TextMatches(Pattern),
    TextNotMatches(Pattern),
}

/// What a selector finds.
enum Selected<'a> {
    Nothing,
    Text(&'a str),
    /// A scalar or ranges: predicates about text leave it to the framework.
    NoText,
}

impl OfferConstraints {
    /// Compiles the constraints of a framework, by role.
    ///
    /// # Errors
    /// Names the first role whose constraints are empty or make no sense.
    pub fn compile(
        wire: &scheduler::OfferConstraints,
        limits: &ConstraintLimits,
    ) -> Result<BTreeMap<String, Arc<Self>>, ConstraintError> {
        let mut roles = BTreeMap::new();
        for (role, constraints) in &wire.role_constraints {
            let owned = || role.clone();
            if constraints.groups.is_empty() {
                return Err(ConstraintError::NoGroups { role: owned() });
            }
            let mut groups = Vec::new();
            for group in &constraints.groups {
                if group.attribute_constraints.is_empty() {
                    return Err(ConstraintError::EmptyGroup { role: owned() });
                }
                let compile = |it| Constraint::compile(it, limits);
                let group = group.attribute_constraints.iter().map(compile);
                let group = group.collect::<Result<_, _>>();
                groups.push(
                    group
                        .map_err(|reason| ConstraintError::Constraint { role: owned(), reason })?,
                );
            }
            roles.insert(owned(), Arc::new(Self { groups }));
        }
        Ok(roles)
    }

    /// Whether an agent meets the constraints.
    #[must_use]
    pub fn admit(&self, agent: &AgentProfile) -> bool {
        self.groups.iter().any(|group| group.iter().all(|constraint| constraint.admits(agent)))
    }
}

impl Constraint {
    fn compile(
        wire: &AttributeConstraint,
        limits: &ConstraintLimits,
    ) -> Result<Self, InvalidConstraint> {
        let selector = Selector::compile(&wire.selector)?;
        let predicate = Predicate::compile(&wire.predicate, limits)?;
        Ok(Self { selector, predicate })
    }

    fn admits(&self, agent: &AgentProfile) -> bool {
        self.predicate.holds(&self.selector.select(agent))
    }
}

impl Selector {
    fn compile(wire: &WireSelector) -> Result<Self, InvalidConstraint> {
        match (&wire.attribute_name, wire.pseudoattribute_type) {
            (Some(name), None) => Ok(Self::Attribute(name.clone())),
            (None, Some(PseudoattributeType::Hostname)) => Ok(Self::Hostname),
            (None, Some(PseudoattributeType::Region)) => Ok(Self::Region),
            (None, Some(PseudoattributeType::Zone)) => Ok(Self::Zone),
            (None, Some(PseudoattributeType::Unknown)) => {
                Err(InvalidConstraint::UnknownPseudoattribute)
            }
            (Some(_), Some(_)) | (None, None) => Err(InvalidConstraint::Selector),
        }
    }

    fn select<'a>(&self, agent: &'a AgentProfile) -> Selected<'a> {
        let text =
            |text: &'a Option<String>| text.as_deref().map_or(Selected::Nothing, Selected::Text);
        match self {
            Self::Attribute(name) => {
                let attribute = agent.attributes.iter().find(|attribute| attribute.name == *name);
                attribute.map_or(Selected::Nothing, text_of)
            }
            Self::Hostname => Selected::Text(&agent.hostname),
            Self::Region => text(&agent.region),
            Self::Zone => text(&agent.zone),
        }
    }
}

fn text_of(attribute: &mesos::Attribute) -> Selected<'_> {
    match (attribute.r#type, &attribute.text) {
        (value::Type::Text, Some(text)) => Selected::Text(&text.value),
        (value::Type::Text, None) => Selected::Text(""),
        (value::Type::Scalar | value::Type::Ranges | value::Type::Set, _) => Selected::NoText,
    }
}

impl Predicate {
    fn compile(wire: &WirePredicate, limits: &ConstraintLimits) -> Result<Self, InvalidConstraint> {
        let WirePredicate {
            exists,
            not_exists,
            text_equals,
            text_not_equals,
            text_matches,
            text_not_matches,
            unknown: _,
        } = wire;
        let pattern = |text: &str| Pattern::compile(text, limits);
        let mut predicates = [
            exists.as_ref().map(|_| Ok(Self::Exists)),
            not_exists.as_ref().map(|_| Ok(Self::NotExists)),
            text_equals.as_ref().map(|it| Ok(Self::TextEquals(it.value.clone()))),
            text_not_equals.as_ref().map(|it| Ok(Self::TextNotEquals(it.value.clone()))),
            text_matches.as_ref().map(|it| pattern(&it.regex).map(Self::TextMatches)),
            text_not_matches.as_ref().map(|it| pattern(&it.regex).map(Self::TextNotMatches)),
        ]
        .into_iter()
        .flatten();
        match (predicates.next(), predicates.next()) {
            (Some(predicate), None) => Ok(predicate?),
            (None, _) | (Some(_), Some(_)) => Err(InvalidConstraint::UnknownPredicate),
        }
    }

    fn holds(&self, selected: &Selected<'_>) -> bool {
        let exists = !matches!(selected, Selected::Nothing);
        // What is there but no text passes every predicate about text.
        let text = |default: bool, holds: &dyn Fn(&str) -> bool| match selected {
            Selected::Nothing => default,
            Selected::NoText => true,
            Selected::Text(text) => holds(text),
        };
        match self {
            Self::Exists => exists,
            Self::NotExists => !exists,
            Self::TextEquals(value) => text(false, &|it| it == value),
            Self::TextNotEquals(value) => text(true, &|it| it != value),
            Self::TextMatches(pattern) => text(false, &|it| pattern.matches(it)),
            Self::TextNotMatches(pattern) => text(true, &|it| !pattern.matches(it)),
        }
    }
}
