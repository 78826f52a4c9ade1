//! RecordIO streams and the small texts of flags, headers and message fields.
#![no_main]

use allocator::{AgentProfile, ConstraintLimits, OfferConstraints};
use libfuzzer_sys::fuzz_target;
use protocol::scheduler::attribute_constraint::predicate::TextMatches;
use protocol::scheduler::attribute_constraint::selector::PseudoattributeType;
use protocol::scheduler::attribute_constraint::{Predicate, Selector};
use protocol::scheduler::offer_constraints::RoleConstraints;
use protocol::scheduler::offer_constraints::role_constraints::Group;
use protocol::scheduler::{self, AttributeConstraint};
use protocol::{bytes, duration, pid::Pid, recordio, uuid::Uuid};
use resources::Resources;

/// Demands that a hostname matches a regular expression.
fn matches(regex: &str) -> scheduler::OfferConstraints {
    let text_matches = Some(TextMatches { regex: regex.to_owned(), ..Default::default() });
    let hostname = Some(PseudoattributeType::Hostname);
    let constraint = AttributeConstraint {
        selector: Selector { pseudoattribute_type: hostname, ..Default::default() },
        predicate: Predicate { text_matches, ..Default::default() },
        ..Default::default()
    };
    let group = Group { attribute_constraints: vec![constraint], ..Default::default() };
    let constraints = RoleConstraints { groups: vec![group], ..Default::default() };
    let role_constraints = [("a".to_owned(), constraints)].into();
    scheduler::OfferConstraints { role_constraints, ..Default::default() }
}

fuzz_target!(|input: &[u8]| {
    // However the stream is cut, the records are the same.
    let whole = recordio::Decoder::new(1 << 16).decode(input);
    if let Ok(whole) = whole {
        let mut decoder = recordio::Decoder::new(1 << 16);
        let pieces: Vec<Vec<u8>> = input
            .chunks(3)
            .flat_map(|piece| decoder.decode(piece).expect("the whole stream was accepted"))
            .collect();
        assert_eq!(pieces, whole);
    }
    let Ok(text) = std::str::from_utf8(input) else { return };
    if let Ok(pid) = text.parse::<Pid>() {
        assert_eq!(pid.to_string().parse(), Ok(pid));
    }
    if let Ok(amount) = bytes::parse(text) {
        assert_eq!(bytes::parse(&bytes::format(amount)), Ok(amount));
    }
    if let Ok(duration) = duration::parse(text) {
        assert!(duration::parse(&duration::format(duration)).is_ok());
    }
    if let Ok(uuid) = text.parse::<Uuid>() {
        assert_eq!(uuid.to_string().parse(), Ok(uuid));
    }
    drop(Resources::parse(text, "*"));
    let agent = AgentProfile { hostname: text.to_owned(), ..AgentProfile::default() };
    if let Ok(constraints) = OfferConstraints::compile(&matches(text), &ConstraintLimits::default())
    {
        let _ = constraints["a"].admit(&agent);
    }
});
