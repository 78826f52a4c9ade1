//! The numbered nodes below a path, and the lowest of them, which leads
//! (`src/zookeeper/group.cpp`, `src/zookeeper/detector.cpp`).

/// The label of nodes whose data is a `MasterInfo` in JSON. Mesos writes these since 0.24.
pub(crate) const JSON_LABEL: &str = "json.info";
/// The label of nodes whose data is a `MasterInfo` in protobuf, of older masters.
pub(crate) const PROTOBUF_LABEL: &str = "info";

/// A child whose name ends with a number.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Candidate {
    /// The ensemble counts up, and below zero after 2³¹ nodes.
    pub(crate) sequence: i32,
    /// The whole name.
    pub(crate) name: String,
}

impl Candidate {
    /// Reads a child's name. Names without a number at their end are no candidates: the log replicas of
    /// Mesos and our registry live beside them.
    fn parse(name: &str) -> Option<Self> {
        let number = name.rsplit_once('_').map_or(name, |(_, number)| number);
        let sequence = number.parse().ok()?;
        Some(Self { sequence, name: name.to_owned() })
    }

    /// What stands before the number; none in nodes of masters before 0.18, which hold a pid.
    pub(crate) fn label(&self) -> Option<&str> {
        self.name.rsplit_once('_').map(|(label, _)| label)
    }
}

/// The candidates among a path's children, the one that leads first.
pub(crate) fn candidates(children: &[String]) -> Vec<Candidate> {
    let mut found: Vec<Candidate> =
        children.iter().filter_map(|name| Candidate::parse(name)).collect();
    found.sort();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(children: &[&str]) -> Vec<String> {
        let children: Vec<String> = children.iter().map(|&name| name.to_owned()).collect();
        candidates(&children).into_iter().map(|it| it.name).collect()
    }

    #[test]
    fn the_lowest_number_leads_whatever_its_label() {
        assert_eq!(
            names(&[
                "json.info_0000000012",
                "log_replicas",
                "registry",
                "other_0000000010",
                "info_0000000011"
            ]),
            ["other_0000000010", "info_0000000011", "json.info_0000000012"]
        );
        assert_eq!(names(&["0000000002", "json.info_0000000003"])[0], "0000000002");
        // The ensemble's counter wraps.
        assert_eq!(
            names(&["json.info_2147483647", "json.info_-2147483648"])[0],
            "json.info_-2147483648"
        );
        assert_eq!(
            names(&["", "_", "json.info_", "json.info_x1", "json.info_99999999999"]),
            [""; 0]
        );
    }

    #[test]
    fn labels() {
        for (name, label) in [
            ("json.info_0000000001", Some(JSON_LABEL)),
            ("info_0000000001", Some(PROTOBUF_LABEL)),
            ("0000000001", None),
            ("a_b_0000000001", Some("a_b")),
        ] {
            assert_eq!(Candidate::parse(name).unwrap().label(), label);
        }
    }
}
