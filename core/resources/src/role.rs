//! Names of roles and their hierarchy (`src/common/roles.cpp` of Mesos).

/// The role of everything that is not reserved.
pub const UNRESERVED: &str = "*";

/// Why a role name is refused. The texts are those of Mesos.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidRole {
    #[error("Role names cannot be the empty string")]
    Empty,
    #[error("Role '{0}' cannot start with a slash")]
    LeadingSlash(String),
    #[error("Role '{0}' cannot end with a slash")]
    TrailingSlash(String),
    #[error("Role '{0}' cannot contain two adjacent slashes")]
    EmptyComponent(String),
    #[error("Role '{role}' cannot include '{component}' as a component")]
    ReservedComponent { role: String, component: String },
    #[error("Role component '{0}' is invalid because it starts with a dash")]
    LeadingDash(String),
    #[error("Role component '{0}' is invalid because it contains backspace or whitespace")]
    Blank(String),
}

/// Checks a role name: `*` alone, or components separated by single slashes.
///
/// # Errors
/// Names the role or the component that is wrong.
pub fn validate(role: &str) -> Result<(), InvalidRole> {
    if role == UNRESERVED {
        return Ok(());
    }
    if role.is_empty() {
        return Err(InvalidRole::Empty);
    }
    if role.starts_with('/') {
        return Err(InvalidRole::LeadingSlash(role.to_owned()));
    }
    if role.ends_with('/') {
        return Err(InvalidRole::TrailingSlash(role.to_owned()));
    }
    if role.contains("//") {
        return Err(InvalidRole::EmptyComponent(role.to_owned()));
    }
    role.split('/').try_for_each(|component| validate_component(role, component))
}

fn validate_component(role: &str, component: &str) -> Result<(), InvalidRole> {
    if matches!(component, "." | ".." | UNRESERVED) {
        let (role, component) = (role.to_owned(), component.to_owned());
        return Err(InvalidRole::ReservedComponent { role, component });
    }
    if component.starts_with('-') {
        return Err(InvalidRole::LeadingDash(component.to_owned()));
    }
    // Tab, line feed, vertical tab, form feed, carriage return, space, delete.
    if component.bytes().any(|byte| matches!(byte, 0x09..=0x0d | 0x20 | 0x7f)) {
        return Err(InvalidRole::Blank(component.to_owned()));
    }
    Ok(())
}

/// Whether `role` lies below `ancestor`: `a/b` is a strict subrole of `a`, `a` itself is not.
#[must_use]
pub fn is_strict_subrole_of(role: &str, ancestor: &str) -> bool {
    role.strip_prefix(ancestor).is_some_and(|rest| rest.len() > 1 && rest.starts_with('/'))
}

/// Whether `role` is `ancestor` or lies below it.
#[must_use]
pub fn is_in_subtree_of(role: &str, ancestor: &str) -> bool {
    role == ancestor || is_strict_subrole_of(role, ancestor)
}

/// The roles above, nearest first: `a/b`, then `a`, for `a/b/c`.
pub fn ancestors(role: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(parent(role), |role| parent(role))
}

/// The role directly above; `None` for a top-level role.
#[must_use]
pub fn parent(role: &str) -> Option<&str> {
    role.rsplit_once('/').map(|(parent, _)| parent)
}

/// The first component, which is the role that quota is set on.
#[must_use]
pub fn top_level(role: &str) -> &str {
    role.split_once('/').map_or(role, |(top, _)| top)
}

#[cfg(test)]
mod tests {
    use super::{ancestors, is_in_subtree_of, is_strict_subrole_of, top_level, validate};

    #[test]
    fn accepts_names_that_mesos_accepts() {
        for role in ["*", "a", "a/b/c", "eng-1", "eng_2", ".hidden", "a/..b", "ä"] {
            assert_eq!(validate(role), Ok(()), "{role}");
        }
    }

    #[test]
    fn refuses_with_the_words_of_mesos() {
        let message = |role| validate(role).unwrap_err().to_string();
        assert_eq!(message(""), "Role names cannot be the empty string");
        assert_eq!(message("/a"), "Role '/a' cannot start with a slash");
        assert_eq!(message("a/"), "Role 'a/' cannot end with a slash");
        assert_eq!(message("a//b"), "Role 'a//b' cannot contain two adjacent slashes");
        assert_eq!(message("a/*"), "Role 'a/*' cannot include '*' as a component");
        assert_eq!(message("a/.."), "Role 'a/..' cannot include '..' as a component");
        assert_eq!(message("a/-b"), "Role component '-b' is invalid because it starts with a dash");
        for role in ["a b", "a\tb", "a\u{7f}"] {
            assert!(message(role).contains("contains backspace or whitespace"), "{role:?}");
        }
    }

    #[test]
    fn hierarchy_follows_whole_components() {
        assert!(is_strict_subrole_of("a/b", "a"));
        assert!(!is_strict_subrole_of("a", "a"));
        assert!(!is_strict_subrole_of("ab", "a"));
        assert!(!is_strict_subrole_of("a", "a/b"));
        assert!(is_in_subtree_of("a", "a"));
        assert_eq!(ancestors("a/b/c").collect::<Vec<_>>(), ["a/b", "a"]);
        assert_eq!(ancestors("a").count(), 0);
        assert_eq!(top_level("a/b/c"), "a");
    }
}
