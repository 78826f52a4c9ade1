//! `cargo xtask tidy`: the project's own rules, each a check that names file and remedy.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use crate::command::{cargo, command, output, root};

/// Crates from the bottom up; a crate may depend on crates of a lower rank only.
const RANKS: &[(&str, u32)] = &[
    ("ensemble", 0),
    ("protocol", 0),
    ("authentication", 1),
    ("resources", 1),
    ("allocator", 2),
    ("agent", 3),
    ("master", 3),
    ("containers", 4),
    ("coordination", 4),
    ("libprocess", 4),
    ("executor", 5),
    ("sdk", 5),
    ("server", 6),
    ("simulator", 7),
    ("swarm", 7),
    ("meseta", 7),
    ("tests", 8),
    ("xtask", 8),
];

/// What crates below `core/` may use besides each other. No runtime, no clock, no sockets.
const CORE_DEPENDENCIES: &[&str] =
    &["base64", "hmac", "indexmap", "md-5", "regex-automata", "serde_json", "thiserror"];

/// What our own scheduler library and command line may use of ours: what a stranger could. An ensemble
/// is open to all.
const FRAMEWORK_DEPENDENCIES: &[&str] = &["coordination", "protocol"];

/// Files longer than this are listed below; the list may only shrink.
const LINES_MAX: usize = 800;
const LONG_FILES: &[&str] = &[];

/// The largest file that may be added without being data for tests.
const BYTES_MAX: u64 = 200 * 1024;

/// Runs every check and reports all that is wrong at once.
pub(crate) fn tidy() -> Result<()> {
    let files = tracked_files()?;
    let mut problems = Vec::new();
    directions(&mut problems)?;
    architecture(&mut problems)?;
    clippy_files(&mut problems)?;
    sources(&files, &mut problems)?;
    links(&files, &mut problems)?;
    if problems.is_empty() {
        return Ok(());
    }
    bail!("the project's rules are broken:\n  {}", problems.join("\n  "))
}

fn tracked_files() -> Result<Vec<PathBuf>> {
    let listing = output(command("git", &["ls-files"]))?;
    Ok(listing.lines().map(PathBuf::from).filter(|path| root().join(path).is_file()).collect())
}

/// Dependencies of every crate, without those that only tests use.
fn dependencies() -> Result<BTreeMap<String, (PathBuf, BTreeSet<String>)>> {
    let metadata = output(cargo(&["metadata", "--no-deps", "--format-version=1"]))?;
    let metadata: serde_json::Value = serde_json::from_str(&metadata)?;
    let mut crates = BTreeMap::new();
    for package in metadata["packages"].as_array().context("cargo lists no packages")? {
        let name = package["name"].as_str().context("a package without name")?;
        let manifest = package["manifest_path"].as_str().context("a package without manifest")?;
        let normal = package["dependencies"].as_array().into_iter().flatten();
        let names = normal
            .filter(|dependency| dependency["kind"].is_null())
            .filter_map(|dependency| dependency["name"].as_str().map(str::to_owned));
        crates.insert(name.to_owned(), (manifest.into(), names.collect()));
    }
    Ok(crates)
}

fn directions(problems: &mut Vec<String>) -> Result<()> {
    let ranks: BTreeMap<&str, u32> = RANKS.iter().copied().collect();
    for (name, (manifest, dependencies)) in dependencies()? {
        let Some(rank) = ranks.get(name.as_str()) else {
            problems.push(format!("crate {name} has no rank in xtask/src/tidy.rs"));
            continue;
        };
        let core = manifest.starts_with(root().join("core"));
        let framework = manifest.starts_with(root().join("frameworks"));
        for dependency in &dependencies {
            let own = ranks.get(dependency.as_str());
            if own.is_some_and(|own| own >= rank) {
                problems.push(format!("{name} depends on {dependency}, which is not below it"));
            }
            if core && own.is_none() && !CORE_DEPENDENCIES.contains(&dependency.as_str()) {
                problems.push(format!("{name} is core and must not depend on {dependency}"));
            }
            if framework && own.is_some() && !FRAMEWORK_DEPENDENCIES.contains(&dependency.as_str())
            {
                problems.push(format!("{name} may use public APIs only, not {dependency}"));
            }
        }
    }
    Ok(())
}

/// Every crate is named in ARCHITECTURE.md, and every folder named there exists.
fn architecture(problems: &mut Vec<String>) -> Result<()> {
    let text = read(Path::new("ARCHITECTURE.md"))?;
    for (name, (manifest, _)) in dependencies()? {
        let folder = manifest.parent().and_then(|path| path.strip_prefix(root()).ok());
        let folder = folder.context("a crate outside of the repository")?.display().to_string();
        if !text.contains(&format!("`{folder}`")) {
            problems.push(format!("ARCHITECTURE.md does not name `{folder}` (crate {name})"));
        }
    }
    for row in text.lines().filter(|line| line.starts_with("| `")) {
        let folder = row.trim_start_matches("| `").split('`').next().unwrap_or("");
        if !root().join(folder).exists() {
            problems.push(format!("ARCHITECTURE.md names `{folder}`, which does not exist"));
        }
    }
    Ok(())
}

/// `core/clippy.toml` replaces the root's file, so it must hold all that stands there.
fn clippy_files(problems: &mut Vec<String>) -> Result<()> {
    let core = read(Path::new("core/clippy.toml"))?;
    for line in read(Path::new("clippy.toml"))?.lines() {
        if !line.trim().is_empty() && !core.contains(line) {
            problems.push(format!("core/clippy.toml lacks a line of clippy.toml: {line}"));
        }
    }
    Ok(())
}

fn sources(files: &[PathBuf], problems: &mut Vec<String>) -> Result<()> {
    // Put together here so that this file does not find itself.
    let unfinished = [["FIX", "ME"].concat(), ["TO", "DO"].concat(), ["XX", "X"].concat()];
    let local_path = ["/wo", "rk/"].concat();
    for path in files {
        let name = path.display().to_string();
        let data = name.starts_with("tests/golden/");
        let generated = name.contains("/generated/") || name == "Cargo.lock";
        let size = std::fs::metadata(root().join(path))?.len();
        if size > BYTES_MAX && !data && !generated {
            problems.push(format!("{name} has {size} bytes"));
        }
        let rust = path.extension().is_some_and(|extension| extension == "rs");
        if data || generated || !(rust || name.ends_with(".md") || name.ends_with(".toml")) {
            continue;
        }
        let text = read(path)?;
        if text.contains(&local_path) {
            problems.push(format!("{name} holds a path of some machine"));
        }
        if !rust {
            continue;
        }
        let lines = text.lines().count();
        if lines > LINES_MAX && !LONG_FILES.contains(&name.as_str()) {
            problems.push(format!("{name} has {lines} lines; split it by concept"));
        }
        for (number, line) in text.lines().enumerate() {
            if unfinished.iter().any(|mark| contains_word(line, mark)) {
                problems.push(format!("{name}:{} is marked as unfinished", number + 1));
            }
        }
    }
    Ok(())
}

fn contains_word(line: &str, word: &str) -> bool {
    line.split(|c: char| !c.is_alphanumeric()).any(|found| found == word)
}

/// Links from one page to another lead somewhere.
fn links(files: &[PathBuf], problems: &mut Vec<String>) -> Result<()> {
    for path in files.iter().filter(|path| path.extension().is_some_and(|e| e == "md")) {
        let text = read(path)?;
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let target = target.split('#').next().unwrap_or("");
            if target.is_empty() || target.contains("://") || target.contains(' ') {
                continue;
            }
            let folder = root().join(path.parent().unwrap_or(Path::new("")));
            if !folder.join(target).exists() {
                problems.push(format!("{} links to {target}, which is not there", path.display()));
            }
        }
    }
    Ok(())
}

fn read(path: &Path) -> Result<String> {
    let bytes =
        std::fs::read(root().join(path)).with_context(|| format!("reading {}", path.display()))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_rules_of_the_project_hold() {
        super::tidy().unwrap();
    }

    #[test]
    fn marks_are_found_as_words_only() {
        assert!(super::contains_word("// MARK: later", "MARK"));
        assert!(!super::contains_word("// MARKED", "MARK"));
    }
}
