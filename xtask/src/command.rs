//! Running other programs, loudly.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

/// The root of the repository.
pub(crate) fn root() -> PathBuf {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.parent().unwrap_or(own).to_path_buf()
}

/// A command in the root of the repository.
pub(crate) fn command(program: impl AsRef<Path>, arguments: &[&str]) -> Command {
    let mut command = Command::new(program.as_ref());
    command.args(arguments).current_dir(root());
    command
}

/// `cargo` as it runs this task.
pub(crate) fn cargo(arguments: &[&str]) -> Command {
    let program = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    command(PathBuf::from(program), arguments)
}

/// Prints the command, runs it and fails when it fails.
pub(crate) fn run(mut command: Command) -> Result<()> {
    let text = show(&command);
    say(&format!("$ {text}"));
    let status = command.status().with_context(|| format!("starting `{text}`"))?;
    if !status.success() {
        bail!("`{text}` failed with {status}");
    }
    Ok(())
}

/// Runs the command and gives its standard output.
pub(crate) fn output(mut command: Command) -> Result<String> {
    let text = show(&command);
    let output = command.output().with_context(|| format!("starting `{text}`"))?;
    if !output.status.success() {
        let reason = String::from_utf8_lossy(&output.stderr).into_owned();
        bail!("`{text}` failed with {}: {reason}", output.status);
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Whether a program can be started and is content with the probing arguments.
pub(crate) fn exists(program: &str, probe: &[&str]) -> bool {
    command(program, probe).output().is_ok_and(|output| output.status.success())
}

/// One line for the person who waits.
#[expect(clippy::print_stderr, reason = "tasks talk to the person at the terminal")]
pub(crate) fn say(line: &str) {
    eprintln!("{line}");
}

fn show(command: &Command) -> String {
    let program = Path::new(command.get_program());
    let name = program.file_name().unwrap_or(program.as_os_str()).to_string_lossy();
    let arguments = command.get_args().map(|argument| argument.to_string_lossy());
    std::iter::once(name).chain(arguments).collect::<Vec<_>>().join(" ")
}
