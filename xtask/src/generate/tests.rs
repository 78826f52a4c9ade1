use super::*;

fn model() -> model::Model {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    pairs::pair(&load(&root.join("proto")).unwrap()).unwrap()
}

#[test]
fn checked_in_code_is_what_the_definitions_give() {
    run(Mode::Check).unwrap();
}

#[test]
fn only_these_messages_differ_between_the_versions() {
    let model = model();
    let different: Vec<&str> = model
        .messages
        .values()
        .filter(|message| message.place.modules[0].ends_with("_v0"))
        .map(|message| message.full_name.as_str())
        .collect();
    let known =
        ["mesos.quota.QuotaRequest", "mesos.scheduler.Call", "mesos.scheduler.Call.Subscribe"];
    assert_eq!(different, known);
}

#[test]
fn fields_of_the_same_number_have_the_same_meaning() {
    // A v1 name is the v0 name with "agent" for "slave"; anything else with the same number is a
    // slip in the definitions.
    for message in model().messages.values() {
        for field in &message.fields {
            let expected = field.v0.as_ref().map(|name| name.replace("slave", "agent"));
            if message.full_name.starts_with("mesos.v1.") && expected.is_some() {
                assert_eq!(field.v1, expected, "{}", message.full_name);
            }
        }
        let mut numbers: Vec<u32> = message.fields.iter().map(|field| field.number).collect();
        numbers.sort_unstable();
        numbers.dedup();
        assert_eq!(numbers.len(), message.fields.len(), "{}", message.full_name);
    }
}
