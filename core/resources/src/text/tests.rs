use std::error::Error;

use proptest::prelude::*;

use crate::{Quantity, Ranges, Reservation, Resource, Resources};

fn parse(text: &str) -> Resources {
    Resources::parse(text, "*").unwrap()
}

/// The message and those of its causes.
fn message(text: &str) -> String {
    let error = Resources::parse(text, "*").unwrap_err();
    let mut message = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        message = format!("{message}: {error}");
        cause = error.source();
    }
    message
}

#[test]
fn reads_the_documented_example() {
    let text = "cpus:24;gpus:2;mem:24576;disk:409600;\
                ports:[21000-24000,30000-34000];bugs(debug_role):{a,b,c}";
    let resources = parse(text);
    assert_eq!(resources.cpus(), Quantity::from_units(24));
    let ports = Ranges::new([(21_000, 24_000), (30_000, 34_000)]).unwrap();
    assert_eq!(resources.ports(), ports);
    let bugs = resources.named("bugs");
    assert_eq!(bugs.iter().next().unwrap().reservations(), [Reservation::fixed("debug_role")]);
    assert_eq!(
        resources.to_text().unwrap(),
        "cpus:24;gpus:2;mem:24576;disk:409600;ports:[21000-24000, 30000-34000];\
         bugs(debug_role):{a, b, c}"
    );
}

#[test]
fn reads_a_json_array() {
    let text = r#" [
        {"name": "cpus", "type": "SCALAR", "scalar": {"value": 24}},
        {"name": "bugs", "type": "SET", "set": {"item": ["a", "b"]}, "role": "debug_role"}
    ]"#;
    assert_eq!(parse(text), parse("cpus:24;bugs(debug_role):{a,b}"));
    let resources = Resources::parse(text, "dev").unwrap();
    assert_eq!(resources, parse("cpus(dev):24;bugs(debug_role):{a,b}"));
}

#[test]
fn what_names_no_role_gets_the_default_role() {
    let resources = Resources::parse("cpus:1;mem(*):2;disk( ops ):3", "dev").unwrap();
    assert_eq!(resources, parse("cpus(dev):1;mem:2;disk(ops):3"));
}

#[test]
fn refuses_and_names_the_part() {
    assert_eq!(message("cpus"), "Bad value for resources, missing or extra ':' in cpus");
    assert_eq!(
        message("mem:1;cpus:1:2"),
        "Bad value for resources, missing or extra ':' in cpus:1:2"
    );
    let refused = "Bad value for resources, mismatched parentheses in cpus(dev:1";
    assert_eq!(message("cpus(dev:1"), refused);
    let refused = "Failed to parse resource ports value [1-2: Mismatched brackets";
    assert_eq!(message("ports:[1-2"), refused);
    assert_eq!(message("cpus:abc"), "Bad type for resource cpus value abc type TEXT");
    assert_eq!(message("cpus:-1"), "Bad type for resource cpus value -1 type TEXT");
    assert_eq!(
        message("cpus:0.0001"),
        "Resource 'cpus' (number 0 of the list) is invalid: Invalid scalar resource: value <= 0"
    );
    assert_eq!(
        message("mem:1;cpus(a/):1"),
        "Resource 'cpus' (number 1 of the list) is invalid: Role 'a/' cannot end with a slash"
    );
    assert_eq!(
        message("cpus:1;cpus(dev):[1-2]"),
        "Resources with the same name ('cpus') but different types are not allowed"
    );
    assert!(message("[{]").starts_with("The JSON of the resources was not formatted properly: "));
    let text = r#"[{"name": "cpus", "type": "SCALAR", "scalar": {"value": "x"}}]"#;
    assert!(message(text).starts_with("JSON resource number 0 was not formatted properly: "));
}

#[test]
fn refuses_what_only_programs_may_give() {
    let json = |rest: &str| {
        message(&format!(r#"[{{"name":"disk","type":"SCALAR","scalar":{{"value":1}},{rest}}}]"#))
    };
    assert!(json(r#""revocable":{}"#).starts_with("Revocable resources cannot be specified"));
    assert!(
        json(r#""reservations":[{"type":"DYNAMIC","role":"dev"}]"#)
            .starts_with("Dynamic reservations cannot be specified")
    );
    assert_eq!(
        json(r#""role":"dev","disk":{"persistence":{"id":"a"}}"#),
        "Persistent volumes cannot be specified at the command line"
    );
}

#[test]
fn is_printed_as_mesos_prints_it() {
    let reserved = parse("cpus(dev):1.5")
        .push_reservation(&Reservation::dynamic("dev/web", Some("alice")))
        .unwrap()
        .allocated_to("dev/web");
    assert_eq!(
        reserved.to_string(),
        "cpus(allocated: dev/web)(reservations: [(STATIC,dev),(DYNAMIC,dev/web,alice)]):1.5"
    );
    let revocable: Resources = parse("cpus:1").into_iter().map(Resource::into_revocable).collect();
    assert_eq!(revocable.to_string(), "cpus{REV}:1");
    assert_eq!(revocable.to_text(), None);
    assert_eq!(Resources::EMPTY.to_string(), "{}");
}

proptest! {
    #[test]
    fn written_text_reads_back(
        scalars in proptest::collection::vec(("[a-d]{1,3}", 1_i64..9_999_999, any::<bool>()), 0..5),
        ports in proptest::collection::vec((0_u64..65_000, 0_u64..500), 0..5),
        items in proptest::collection::btree_set("[a-z0-9_]{1,4}", 0..4),
    ) {
        let mut text = String::new();
        for (name, amount, reserved) in scalars {
            let role = if reserved { "(dev)" } else { "" };
            let amount = Quantity::from_thousandths(amount).unwrap();
            text += &format!("{name}{role}:{amount};");
        }
        let ports: Vec<_> = ports.iter().map(|(at, more)| format!("{at}-{}", at + more)).collect();
        text += &format!("ports:[{}];", ports.join(","));
        text += &format!("Bugs:{{{}}}", items.into_iter().collect::<Vec<_>>().join(","));
        let resources = parse(&text);
        prop_assert_eq!(parse(&resources.to_text().unwrap()), resources);
    }

    #[test]
    fn no_text_panics(text in "[ -~]{0,40}", shaped in "[a-z(){}\\[\\]:;,0-9.-]{0,30}") {
        let _ = Resources::parse(&text, "*");
        let _ = Resources::parse(&shaped, "*");
    }
}
