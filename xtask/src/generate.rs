//! Writes `core/protocol/src/generated/` from the definitions in `proto/`.
//!
//! Mesos has its messages twice: packages `mesos.*` (v0) and `mesos.v1.*`. They are the same on the
//! wire, so one set of Rust types is made from each pair, with both sets of names for JSON. Where a
//! pair does differ on the wire the v0 message gets a type of its own in a module `..._v0`.

mod model;
mod names;
mod pairs;
mod render;
mod shape;

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, bail, ensure};

/// Whether to write the files or to compare them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Write what the definitions give.
    Write,
    /// Fail if the files are not what the definitions give.
    Check,
}

/// Generates all files.
///
/// # Errors
/// Definitions that do not parse or do not pair, and in check mode files that are out of date.
pub fn run(mode: Mode) -> anyhow::Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("xtask has no parent")?;
    let model = pairs::pair(&load(&root.join("proto"))?)?;
    let directory = root.join("core/protocol/src/generated");
    let mut stale = Vec::new();
    for (name, text) in render::files(&model) {
        let path = directory.join(&name);
        let text = format(&text).with_context(|| format!("formatting {name}"))?;
        if fs::read_to_string(&path).is_ok_and(|current| current == text) {
            continue;
        }
        match mode {
            Mode::Write => {
                fs::create_dir_all(&directory)?;
                fs::write(&path, text).with_context(|| format!("writing {}", path.display()))?;
            }
            Mode::Check => stale.push(name),
        }
    }
    ensure!(stale.is_empty(), "out of date, run `cargo xtask generate`: {}", stale.join(", "));
    Ok(())
}

/// Parses all definitions below `directory`.
fn load(directory: &Path) -> anyhow::Result<prost_types::FileDescriptorSet> {
    let mut files = Vec::new();
    collect(directory, &mut files)?;
    files.sort();
    let mut compiler = protox::Compiler::new([directory])?;
    compiler.include_imports(true).open_files(files)?;
    Ok(compiler.file_descriptor_set())
}

fn collect(directory: &Path, files: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    for entry in fs::read_dir(directory).with_context(|| directory.display().to_string())? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "proto") {
            files.push(path);
        }
    }
    Ok(())
}

/// Runs rustfmt with the project's settings.
fn format(text: &str) -> anyhow::Result<String> {
    let mut child = Command::new("rustfmt")
        .args(["--edition", "2024", "--config", "max_width=100,use_small_heuristics=Max"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .context("starting rustfmt")?;
    let mut input = child.stdin.take().context("rustfmt has no input")?;
    let owned = text.to_owned();
    let writer = std::thread::spawn(move || input.write_all(owned.as_bytes()));
    let output = child.wait_with_output()?;
    if !output.status.success() {
        bail!("rustfmt: {}", output.status);
    }
    writer.join().map_err(|_| anyhow::anyhow!("writing to rustfmt panicked"))??;
    Ok(String::from_utf8(output.stdout)?)
}

#[cfg(test)]
mod tests;
