//! Which endpoint a path means, exactly as libprocess finds it (`src/process.cpp`, `handle` and `consume`).

use std::collections::BTreeMap;

use super::query::percent_decode;

/// The endpoints of a daemon by actor and name.
///
/// The first component of a path names an actor, such as `metrics`; a path that names none belongs to the default actor, so
/// `/state` is `/master/state`. Of the rest, the longest registered prefix wins: `/api/v1/operator` is `/api/v1`.
#[derive(Clone, Debug)]
pub struct Router<E> {
    default_actor: &'static str,
    endpoints: BTreeMap<&'static str, BTreeMap<&'static str, E>>,
}

impl<E: Copy> Router<E> {
    /// A router whose endpoints are given as (actor, name without slashes around it, endpoint).
    #[must_use]
    pub fn new(default_actor: &'static str, endpoints: &[(&'static str, &'static str, E)]) -> Self {
        let mut router = Self { default_actor, endpoints: BTreeMap::new() };
        router.endpoints.insert(default_actor, BTreeMap::new());
        for &(actor, name, endpoint) in endpoints {
            router.endpoints.entry(actor).or_default().insert(name, endpoint);
        }
        router
    }

    /// The endpoint that `path` means, or none: 404.
    #[must_use]
    pub fn resolve(&self, path: &str) -> Option<E> {
        let trimmed = path.trim_matches('/');
        let (first, rest) = trimmed.split_once('/').unwrap_or((trimmed, ""));
        let actor = percent_decode(first, false).unwrap_or_default();
        let (names, name) = match self.endpoints.get(actor.as_str()) {
            Some(names) => (names, rest),
            None => (self.endpoints.get(self.default_actor)?, trimmed),
        };
        longest_prefix(names, name.trim_matches('/'))
    }
}

fn longest_prefix<E: Copy>(names: &BTreeMap<&'static str, E>, full: &str) -> Option<E> {
    let mut name = full;
    loop {
        if let Some(endpoint) = names.get(name) {
            return Some(*endpoint);
        }
        // Names with `.json` were endpoints of their own before Mesos 1.8; old tools still ask.
        if let Some(endpoint) = name.strip_suffix(".json").and_then(|stem| names.get(stem)) {
            return Some(*endpoint);
        }
        name = name.rsplit_once('/')?.0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn router() -> Router<u8> {
        Router::new(
            "master",
            &[
                ("master", "state", 1),
                ("master", "api/v1", 2),
                ("master", "api/v1/scheduler", 3),
                ("metrics", "snapshot", 4),
                ("version", "", 5),
                ("system", "stats.json", 6),
            ],
        )
    }

    #[test]
    fn a_path_without_an_actor_belongs_to_the_default_one() {
        for path in [
            "/state",
            "/master/state",
            "/state/",
            "//state//",
            "/state.json",
            "/master/state.json",
            "/m%61ster/state",
        ] {
            assert_eq!(router().resolve(path), Some(1), "{path}");
        }
    }

    #[test]
    fn the_longest_prefix_wins() {
        assert_eq!(router().resolve("/api/v1/operator"), Some(2));
        assert_eq!(router().resolve("/api/v1"), Some(2));
        assert_eq!(router().resolve("/master/api/v1/scheduler"), Some(3));
        assert_eq!(router().resolve("/api/v1/scheduler/x/y"), Some(3));
        assert_eq!(router().resolve("/metrics/snapshot"), Some(4));
        assert_eq!(router().resolve("/system/stats.json"), Some(6));
    }

    #[test]
    fn the_root_of_an_actor_matches_exactly() {
        assert_eq!(router().resolve("/version"), Some(5));
        assert_eq!(router().resolve("/version.json"), None);
        assert_eq!(router().resolve("/version/x"), None);
    }

    #[test]
    fn anything_else_is_not_found() {
        for path in [
            "/",
            "",
            "/api",
            "/nosuchendpoint",
            "/metrics",
            "/metrics/state",
            "/state2",
            "/monitor/statistics",
        ] {
            assert_eq!(router().resolve(path), None, "{path}");
        }
    }
}
