//! Resources as the JSON of `/state` and its kin shows them: one field per name, sums only.

use std::collections::BTreeMap;

use serde_json::{Map, Value as Json};

use crate::attributes::{AttributeValue, Attributes};
use crate::{Quantities, Quantity, Ranges, Resources, Set, Value};

/// The fields that are there even when there is nothing of them.
const ALWAYS: [&str; 4] = ["disk", "mem", "gpus", "cpus"];

impl Resources {
    /// Sums by name, whoever they are reserved for. `cpus`, `gpus`, `mem` and `disk` are always
    /// there; ranges and sets are strings; revocable ones have a field of their own, named
    /// `<name>_revocable`.
    #[must_use]
    pub fn summary(&self) -> Map<String, Json> {
        let mut scalars: BTreeMap<String, Quantity> = BTreeMap::new();
        let mut ranges: BTreeMap<String, Ranges> = BTreeMap::new();
        let mut sets: BTreeMap<String, Set> = BTreeMap::new();
        for resource in self {
            let suffix = if resource.is_revocable() { "_revocable" } else { "" };
            let name = format!("{}{suffix}", resource.name());
            match resource.value() {
                Value::Scalar(_) => *scalars.entry(name).or_default() += resource.quantity(),
                Value::Ranges(more) => {
                    let sum = ranges.entry(name).or_default();
                    *sum = sum.union(more);
                }
                Value::Set(more) => {
                    let sum = sets.entry(name).or_default();
                    *sum = sum.union(more);
                }
            }
        }
        let mut fields = Map::new();
        for name in ALWAYS {
            let quantity = scalars.remove(name).unwrap_or_default();
            fields.insert(name.to_owned(), Json::from(quantity.to_f64()));
        }
        fields.extend(scalars.into_iter().map(|(name, it)| (name, Json::from(it.to_f64()))));
        fields.extend(ranges.into_iter().map(|(name, it)| (name, Json::from(it.to_string()))));
        fields.extend(sets.into_iter().map(|(name, it)| (name, Json::from(it.to_string()))));
        fields
    }

    /// What is reserved, as one summary per role.
    #[must_use]
    pub fn reserved_summary(&self) -> Map<String, Json> {
        let summary = |(role, reserved): (String, Self)| (role, Json::from(reserved.summary()));
        self.reservations().into_iter().map(summary).collect()
    }
}

impl Quantities {
    /// One number per name.
    #[must_use]
    pub fn summary(&self) -> Map<String, Json> {
        self.iter().map(|(name, it)| (name.to_owned(), Json::from(it.to_f64()))).collect()
    }
}

impl Attributes {
    /// One field per name, the last of a name winning: scalars as numbers, the rest as strings.
    #[must_use]
    pub fn summary(&self) -> Map<String, Json> {
        let json = |value: &AttributeValue| match value {
            AttributeValue::Scalar(number) => Json::from(*number),
            AttributeValue::Ranges(_) | AttributeValue::Text(_) => Json::from(value.to_string()),
        };
        self.iter().map(|attribute| (attribute.name.clone(), json(&attribute.value))).collect()
    }
}

#[cfg(test)]
mod tests {
    use crate::{Attributes, Resource, Resources};
    use serde_json::json;

    fn parse(text: &str) -> Resources {
        Resources::parse(text, "*").unwrap()
    }

    #[test]
    fn is_what_mesos_shows() {
        let summary = parse("cpus:2;mem:23081;disk:252899;ports:[31000-32000]").summary();
        let text = serde_json::to_string(&summary).unwrap();
        assert_eq!(
            text,
            r#"{"disk":252899.0,"mem":23081.0,"gpus":0.0,"cpus":2.0,"ports":"[31000-32000]"}"#
        );
    }

    #[test]
    fn sums_over_roles_and_keeps_revocable_apart() {
        let mut resources = parse("cpus:1.5;cpus(dev):1;ports:[1-2];ports(dev):[3-4];bugs:{a,b}");
        let revocable = parse("cpus:3").into_iter().map(Resource::into_revocable);
        resources.extend(revocable);
        let expected = json!({
            "cpus": 2.5, "gpus": 0.0, "mem": 0.0, "disk": 0.0,
            "cpus_revocable": 3.0, "ports": "[1-4]", "bugs": "{a, b}",
        });
        assert_eq!(json!(resources.summary()), expected);
        let expected = json!({
            "dev": { "cpus": 1.0, "gpus": 0.0, "mem": 0.0, "disk": 0.0, "ports": "[3-4]" },
        });
        assert_eq!(json!(resources.reserved_summary()), expected);
        assert_eq!(json!(parse("").reserved_summary()), json!({}));
    }

    #[test]
    fn attributes_are_numbers_or_strings() {
        let attributes = Attributes::parse("rack:abc;level:10;keys:[1-5]").unwrap();
        let expected = json!({ "rack": "abc", "level": 10.0, "keys": "[1-5]" });
        assert_eq!(json!(attributes.summary()), expected);
    }
}
