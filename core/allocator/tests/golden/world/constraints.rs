//! Offer constraints in a line of text.

use std::collections::BTreeMap;
use std::sync::Arc;

use allocator::{ConstraintLimits, OfferConstraints};
use protocol::scheduler::attribute_constraint::predicate::{
    Exists, NotExists, TextEquals, TextMatches, TextNotEquals, TextNotMatches,
};
use protocol::scheduler::attribute_constraint::selector::PseudoattributeType;
use protocol::scheduler::attribute_constraint::{Predicate, Selector};
use protocol::scheduler::offer_constraints::RoleConstraints;
use protocol::scheduler::offer_constraints::role_constraints::Group;
use protocol::scheduler::{self, AttributeConstraint};

use super::Problem;

/// `rack text_equals r1 and ZONE exists or HOSTNAME text_matches h[1-3]`: `or` between groups, `and` inside.
pub(super) fn parse(
    role: &str,
    text: &str,
) -> Result<BTreeMap<String, Arc<OfferConstraints>>, Problem> {
    let mut constraints = RoleConstraints::default();
    for group in text.split(" or ") {
        let attribute_constraints =
            group.split(" and ").map(constraint).collect::<Result<_, Problem>>()?;
        constraints.groups.push(Group { attribute_constraints, ..Default::default() });
    }
    let role_constraints = BTreeMap::from([(role.to_owned(), constraints)]);
    let wire = scheduler::OfferConstraints { role_constraints, ..Default::default() };
    Ok(OfferConstraints::compile(&wire, &ConstraintLimits::default())?)
}

fn constraint(text: &str) -> Result<AttributeConstraint, Problem> {
    let words: Vec<&str> = text.split_whitespace().collect();
    let (&name, &predicate) = (words.first().ok_or("SELECTOR")?, words.get(1).ok_or("PREDICATE")?);
    let pseudo = |kind| Selector { pseudoattribute_type: Some(kind), ..Default::default() };
    let selector = match name {
        "HOSTNAME" => pseudo(PseudoattributeType::Hostname),
        "REGION" => pseudo(PseudoattributeType::Region),
        "ZONE" => pseudo(PseudoattributeType::Zone),
        name => Selector { attribute_name: Some(name.to_owned()), ..Default::default() },
    };
    let value = words.get(2).map(|&value| value.to_owned()).ok_or("the predicate lacks its text");
    let mut built = Predicate::default();
    match predicate {
        "exists" => built.exists = Some(Exists::default()),
        "not_exists" => built.not_exists = Some(NotExists::default()),
        "text_equals" => {
            built.text_equals = Some(TextEquals { value: value?, ..Default::default() });
        }
        "text_not_equals" => {
            built.text_not_equals = Some(TextNotEquals { value: value?, ..Default::default() });
        }
        "text_matches" => {
            built.text_matches = Some(TextMatches { regex: value?, ..Default::default() });
        }
        "text_not_matches" => {
            built.text_not_matches = Some(TextNotMatches { regex: value?, ..Default::default() });
        }
        other => return Err(format!("no such predicate: {other}").into()),
    }
    Ok(AttributeConstraint { selector, predicate: built, ..Default::default() })
}
