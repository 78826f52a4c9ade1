//! `cargo xtask docs`: writes the pages that are made from tables in the code.

use anyhow::Result;

use crate::command::{cargo, run};

/// Writes `docs/user/flags/*.md`.
pub(crate) fn docs() -> Result<()> {
    let mut test = cargo(&["test", "--package", "server", "--lib", "documentation_pages"]);
    test.env("UPDATE_DOCS", "1");
    run(test)
}
