//! The files in `tests/scenarios`: who is offered what, and why.
//!
//! A scenario is a list of commands, each on a line of its own (`world.rs` has them all), with the
//! allocator's answers below them, indented. The test runs the commands and compares the answers. After a
//! change that is meant to change them, `UPDATE_SCENARIOS=1 cargo test -p allocator --test golden` writes
//! the new ones into the files; read the difference before it is committed.

use std::path::{Path, PathBuf};

mod world;

const ANSWER_INDENT: &str = "    ";

/// How the answer to a command begins that makes no sense. No scenario may have one.
const ERROR: &str = "error: ";

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios")
}

/// The scenario with its answers as they are now.
fn run(text: &str) -> String {
    let mut world = world::World::new();
    let mut output = String::new();
    for line in text.lines() {
        if line.starts_with(ANSWER_INDENT) {
            continue;
        }
        output.push_str(line);
        output.push('\n');
        let command = line.split('#').next().unwrap_or_default().trim();
        if command.is_empty() {
            continue;
        }
        let answers = world.run(command).unwrap_or_else(|error| vec![format!("{ERROR}{error}")]);
        for answer in answers {
            output.push_str(ANSWER_INDENT);
            output.push_str(&answer);
            output.push('\n');
        }
    }
    output
}

#[test]
fn the_allocator_answers_as_the_scenarios_say() {
    let update = std::env::var_os("UPDATE_SCENARIOS").is_some();
    let mut paths: Vec<PathBuf> =
        std::fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!(paths.len() >= 10, "only {} scenarios", paths.len());
    let mut failures = Vec::new();
    for path in paths {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let expected = std::fs::read_to_string(&path).unwrap();
        let actual = run(&expected);
        for line in actual.lines().filter(|line| line.trim().starts_with(ERROR)) {
            failures.push(format!("{name}: {}", line.trim()));
        }
        if actual == expected {
            continue;
        }
        if update {
            std::fs::write(&path, actual).unwrap();
            continue;
        }
        let different =
            expected.lines().zip(actual.lines()).position(|(left, right)| left != right);
        let line =
            different.unwrap_or_else(|| expected.lines().count().min(actual.lines().count()));
        failures.push(format!(
            "{name}:{}: expected {:?}, but the answer is {:?}",
            line + 1,
            expected.lines().nth(line).unwrap_or_default(),
            actual.lines().nth(line).unwrap_or_default(),
        ));
    }
    assert!(failures.is_empty(), "\n{}", failures.join("\n"));
}
