//! `cargo xtask ci`: everything that must hold before a change lands.

use std::path::PathBuf;

use anyhow::Result;

use crate::command::{cargo, command, exists, run, say};
use crate::test::target_folder;

/// The quick checks, which need nothing but the toolchain.
pub(crate) fn check() -> Result<()> {
    run(cargo(&["fmt", "--all", "--check"]))?;
    run(cargo(&["clippy", "--workspace", "--all-targets", "--", "--deny", "warnings"]))?;
    crate::generate::run(crate::generate::Mode::Check)?;
    crate::tidy::tidy()
}

/// All checks and all tests.
pub(crate) fn ci() -> Result<()> {
    check()?;
    let mut documentation = cargo(&["doc", "--workspace", "--no-deps", "--document-private-items"]);
    documentation.env("RUSTDOCFLAGS", "--deny warnings");
    run(documentation)?;
    run(command(tool("cargo-deny", "0.20.2")?, &["check", "bans", "licenses", "sources"]))?;
    run(command(tool("cargo-machete", "0.9.1")?, &[]))?;
    run(command(typos()?, &[]))?;
    crate::gate::gate()?;
    crate::test::test(&[])
}

/// A cargo tool, compiled once into the target folder when the machine has none.
fn tool(name: &str, version: &str) -> Result<PathBuf> {
    if exists(name, &["--version"]) {
        return Ok(name.into());
    }
    let folder = target_folder()?.join("tools");
    let path = folder.join("bin").join(name);
    if !path.exists() {
        say(&format!("compiling {name} {version}, once"));
        let root = format!("--root={}", folder.display());
        run(cargo(&["install", "--locked", "--quiet", &root, name, "--version", version]))?;
    }
    Ok(path)
}

/// The spelling checker, from its wheel.
fn typos() -> Result<PathBuf> {
    if exists("typos", &["--version"]) {
        return Ok("typos".into());
    }
    let folder = target_folder()?.join("tools/typos");
    let path = folder.join("bin/typos");
    if !path.exists() {
        run(command("python3", &["-m", "venv", &folder.to_string_lossy()]))?;
        run(command(folder.join("bin/pip"), &["install", "--quiet", "typos"]))?;
    }
    Ok(path)
}
