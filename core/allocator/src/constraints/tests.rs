use std::sync::Arc;

use protocol::{Message as _, Names};
use resources::Attributes;

use super::*;

fn constraints(json: &str) -> scheduler::OfferConstraints {
    scheduler::OfferConstraints::from_json(json.as_bytes(), Names::V1).unwrap()
}

/// Constraints of role `a`: one group of one constraint.
fn one(selector: &str, predicate: &str) -> scheduler::OfferConstraints {
    constraints(&format!(
        r#"{{"role_constraints": {{"a": {{"groups": [{{"attribute_constraints": [
            {{"selector": {selector}, "predicate": {predicate}}}]}}]}}}}}}"#
    ))
}

fn agent(attributes: &str) -> AgentProfile {
    let attributes = Attributes::parse(attributes).unwrap().to_wire();
    AgentProfile {
        hostname: "node1.example".into(),
        attributes: Arc::from(attributes),
        ..AgentProfile::default()
    }
}

fn compile(wire: &scheduler::OfferConstraints) -> Result<Arc<OfferConstraints>, String> {
    let compiled = OfferConstraints::compile(wire, &ConstraintLimits::default());
    compiled.map(|roles| Arc::clone(&roles["a"])).map_err(|error| error.to_string())
}

fn admits(selector: &str, predicate: &str, agent: &AgentProfile) -> bool {
    compile(&one(selector, predicate)).unwrap().admit(agent)
}

/// Agents: without the attribute, with another text, with the text, with a scalar, with ranges.
#[test]
fn predicates_are_those_of_mesos() {
    let agents =
        ["other:x", "foo:no", "foo:bar", "foo:123", "foo:[1-17]", "foo:no;foo:bar"].map(agent);
    for (predicate, expected) in [
        (r#"{"exists": {}}"#, [false, true, true, true, true, true]),
        (r#"{"not_exists": {}}"#, [true, false, false, false, false, false]),
        (r#"{"text_equals": {"value": "bar"}}"#, [false, false, true, true, true, false]),
        (r#"{"text_not_equals": {"value": "bar"}}"#, [true, true, false, true, true, true]),
        (r#"{"text_matches": {"regex": "b[a-d]+r?"}}"#, [false, false, true, true, true, false]),
        (r#"{"text_not_matches": {"regex": "b[a-d]+r?"}}"#, [true, true, false, true, true, true]),
    ] {
        let selector = r#"{"attribute_name": "foo"}"#;
        let admitted = agents.each_ref().map(|agent| admits(selector, predicate, agent));
        assert_eq!(admitted, expected, "{predicate}");
    }
}

#[test]
fn pseudoattributes_are_hostname_region_and_zone() {
    let without = agent("");
    let mut with = agent("");
    (with.region, with.zone) = (Some("east".to_owned()), Some("1a".to_owned()));
    let select = |name: &str| format!(r#"{{"pseudoattribute_type": "{name}"}}"#);
    let equals = |value: &str| format!(r#"{{"text_equals": {{"value": "{value}"}}}}"#);
    assert!(admits(&select("HOSTNAME"), &equals("node1.example"), &without));
    assert!(!admits(&select("HOSTNAME"), &equals("node1"), &without));
    for (name, value) in [("REGION", "east"), ("ZONE", "1a")] {
        assert!(admits(&select(name), &equals(value), &with));
        assert!(!admits(&select(name), &equals("other"), &with));
        assert!(!admits(&select(name), &equals(value), &without));
        assert!(admits(&select(name), r#"{"not_exists": {}}"#, &without));
    }
}

#[test]
fn all_of_one_group_is_enough() {
    let wire = constraints(
        r#"{"role_constraints": {"a": {"groups": [
            {"attribute_constraints": [
                {"selector": {"attribute_name": "foo"}, "predicate": {"exists": {}}},
                {"selector": {"attribute_name": "bar"}, "predicate": {"exists": {}}}]},
            {"attribute_constraints": [
                {"selector": {"attribute_name": "baz"}, "predicate": {"exists": {}}}]}]}}}"#,
    );
    let compiled = compile(&wire).unwrap();
    for (attributes, expected) in
        [("foo:x", false), ("bar:x", false), ("foo:x;bar:x", true), ("baz:x", true), ("", false)]
    {
        assert_eq!(compiled.admit(&agent(attributes)), expected, "{attributes}");
    }
}

#[test]
fn errors_are_in_mesos_words() {
    let empty = r#"{"role_constraints": {"a": {"groups": []}}}"#;
    assert_eq!(
        compile(&constraints(empty)).unwrap_err(),
        "'OfferConstraints::role_constraints' has an empty 'RoleConstraints::groups' for role a"
    );
    let empty = r#"{"role_constraints": {"a": {"groups": [{"attribute_constraints": []}]}}}"#;
    assert_eq!(
        compile(&constraints(empty)).unwrap_err(),
        "'OfferConstraints::RoleConstraints::groups' for role acontains an empty \
         RoleConstraints::Group"
    );
    for (selector, predicate, expected) in [
        (
            "{}",
            r#"{"exists": {}}"#,
            "Exactly one of 'AttributeConstraint::Selector::name' or \
            'AttributeConstraint::Selector::pseudoattribute_type' must be set",
        ),
        (
            r#"{"pseudoattribute_type": "UNKNOWN"}"#,
            r#"{"exists": {}}"#,
            "Unknown pseudoattribute type",
        ),
        (r#"{"attribute_name": "foo"}"#, "{}", "Unknown predicate type"),
    ] {
        let expected = format!("A role a has an invalid 'AttributeConstraint': {expected}");
        assert_eq!(compile(&one(selector, predicate)).unwrap_err(), expected);
    }
}

fn pattern(text: &str) -> Result<Pattern, String> {
    Pattern::compile(text, &ConstraintLimits::default()).map_err(|error| error.to_string())
}

#[test]
fn patterns_match_the_whole_text() {
    for (text, matched, not_matched) in [
        ("ab|cd", "cd", "abcd"),
        ("a.c", "abc", "abcd"),
        (r"rack-\d+", "rack-12", "rack-١"),
        (r"\w+\W\s\S\D", "ab_ \tx-", "é- xy"),
        (r"(?i)Foo", "fOO", "fo"),
        (r"(?P<1st>a)(?:b)", "ab", "a"),
        ("[[a]+", "[a[", "[b"),
        ("[a&&b]+", "a&b", "c"),
        ("[]a-]+", "]-a", "b"),
        ("[^]a]", "b", "]"),
        (r"[\d\-a]+", "1-a", "b"),
        (r"[\Dx]", "x", "1"),
        ("[[:alpha:][:digit:]]+", "a1", "a-"),
        ("[[:^alpha:]]", "1", "a"),
        (r"a{,2}", "a{,2}", "aa"),
        ("a{2}", "aa", "a{2}"),
        ("a{2,3}?b", "aaab", "aaaab"),
        (r"\Qa.b|c\E+", "a.b|cc", "axb|c"),
        (r"\x41\x{42}\101", "ABA", "AB"),
        (r"a\.b\-c\/", "a.b-c/", "axb-c/"),
        (r"\p{Greek}\pL[\p{Lu}\P{L}]", "αaB", "aab"),
        (r"\p{^Greek}", "a", "α"),
        (r"\Aab\z$", "ab", "ab\n"),
        (".", "é", "\n"),
        (r"a\b-\Bx?-", "a--", "a-x-"),
    ] {
        // Letters of all scripts do not fit into the default limits, as in RE2.
        let limits = ConstraintLimits { memory_max: 1 << 20, program_size_max: 10_000 };
        let compiled = Pattern::compile(text, &limits).unwrap_or_else(|error| panic!("{error}"));
        assert!(compiled.matches(matched), "{text} matches {matched}");
        assert!(!compiled.matches(not_matched), "{text} does not match {not_matched}");
    }
}

#[test]
fn patterns_that_are_wrong_are_refused_in_the_words_of_re2() {
    for (text, reason) in [
        ("[a-d", "missing ]: [a-d"),
        ("(a", "missing ): (a"),
        ("a)", "unexpected ): a)"),
        ("*a", "no argument for repetition operator: *"),
        ("a|+", "no argument for repetition operator: +"),
        ("a**", "bad repetition operator: **"),
        ("a{2}{3}", "bad repetition operator: {2}{3}"),
        ("a{1001}", "invalid repetition size: {1001}"),
        ("a{3,2}", "invalid repetition size: {3,2}"),
        ("[z-a]", "invalid character class range: z-a"),
        ("[[:foo:]]", "invalid character class range: [:foo:]"),
        (r"\p{Foo}", r"invalid character class range: \p{Foo}"),
        (r"\y", r"invalid escape sequence: \y"),
        (r"(a)\1", r"invalid escape sequence: \1"),
        (r"\C", r"invalid escape sequence: \C"),
        (r"\xZZ", r"invalid escape sequence: \xZZ"),
        (r"\x{110000}", r"invalid escape sequence: \x{110000}"),
        ("a\\", "trailing \\"),
        ("(?=a)", "invalid perl operator: (?="),
        ("(?x)a", "invalid perl operator: (?x"),
        ("(?P<a>b)(?P<a>c)", "invalid named capture group: (?P<a>"),
        ("(?P<a", "invalid named capture group: (?P<a"),
        ("(?", "missing ): (?"),
        ("(a+){500}", "pattern too large - compile failed"),
        ("((a{1000}){1000}){1000}", "pattern too large - compile failed"),
    ] {
        let expected = format!("Failed to construct regex from pattern '{text}': {reason}");
        assert_eq!(pattern(text).map(|_| ()).unwrap_err(), expected);
    }
}

/// The three sizes that Mesos' own tests tell apart.
#[test]
fn patterns_are_bounded() {
    assert!(pattern("(a+){10}").is_ok());
    assert!(pattern("us-(east|west)-[0-9]+[a-z]?").is_ok());
    let error = pattern("(a+){50}").unwrap_err();
    assert!(error.starts_with("Regex '(a+){50}' is too complex: program size of 20"), "{error}");
    assert!(error.ends_with("is larger than maximum of 100 allowed"), "{error}");
    let generous = ConstraintLimits { memory_max: 1 << 20, program_size_max: 10_000 };
    assert!(Pattern::compile("(a+){500}", &generous).is_ok());
}

/// What a stranger sends may be refused, but it does no harm.
#[test]
fn any_text_is_compiled_or_refused() {
    const PIECES: [&str; 30] = [
        "a",
        "é",
        "(",
        ")",
        "[",
        "]",
        "^",
        "-",
        "\\",
        "?",
        "*",
        "+",
        "{",
        "}",
        "2",
        ",",
        "|",
        ".",
        ":",
        "P",
        "<",
        ">",
        "i",
        "Q",
        "E",
        "x",
        "p",
        "b",
        "&&",
        "[:alpha:]",
    ];
    let mut random = protocol::uuid::UuidSource::new(5);
    let mut compiled = 0;
    for _ in 0..20_000 {
        let length = random.next_u64() % 8;
        let count = u64::try_from(PIECES.len()).unwrap();
        let piece = |_| PIECES[usize::try_from(random.next_u64() % count).unwrap()];
        let text: String = (0..length).map(piece).collect();
        match pattern(&text) {
            Ok(pattern) => {
                pattern.matches("aé");
                compiled += 1;
            }
            Err(error) => assert!(!error.contains("unexpected error"), "{error}"),
        }
    }
    assert!(compiled > 2_000, "{compiled}");
}
