//! JSONP: JSON as a script that calls a function with it, for web pages that come from elsewhere.

/// What goes after the JSON. Mesos ends the script here, without a semicolon (`OK` in
/// `3rdparty/libprocess/src/http.cpp`).
const AFTER: &[u8] = b")";

/// The name of the function to be called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Callback(String);

/// A name that could be a script of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "Invalid 'jsonp' query parameter: expecting the name of a function, of letters, digits, '_', '$' and '.'"
)]
pub struct InvalidCallback;

impl Callback {
    /// Reads the name of a function, with the objects that it is in: `angular.callbacks._0`.
    ///
    /// # Errors
    /// Mesos takes any text. Here a link cannot make a page run a script that its author wrote.
    pub fn parse(name: &str) -> Result<Self, InvalidCallback> {
        let is_allowed =
            |character: char| character.is_ascii_alphanumeric() || "_$.".contains(character);
        if name.is_empty() || !name.chars().all(is_allowed) {
            return Err(InvalidCallback);
        }
        Ok(Self(name.to_owned()))
    }

    /// The call with a whole document.
    #[must_use]
    pub fn call(&self, json: &[u8]) -> Vec<u8> {
        let mut script = Vec::with_capacity(self.0.len() + json.len() + 2);
        script.extend_from_slice(&self.before());
        script.extend_from_slice(json);
        script.extend_from_slice(AFTER);
        script
    }

    /// Makes what is rendered piece by piece the call.
    #[must_use]
    pub fn enclose(&self, output: super::shared::Output) -> super::shared::Output {
        output.enclosed(self.before(), AFTER)
    }

    fn before(&self) -> Vec<u8> {
        format!("{}(", self.0).into_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_functions_are_taken_and_scripts_refused() -> Result<(), InvalidCallback> {
        for name in ["cb", "angular.callbacks._0", "$jsonp", "jQuery1_2"] {
            assert_eq!(Callback::parse(name)?.call(b"{}"), format!("{name}({{}})").into_bytes());
        }
        for name in ["", "alert(1)//", "a;b", "a b", "a[0]", "<script>", "a\n", "ä", "a'", "a/"] {
            assert_eq!(Callback::parse(name), Err(InvalidCallback), "{name}");
        }
        Ok(())
    }
}
