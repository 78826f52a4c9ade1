//! The one binary: every daemon and tool of Meseta, by subcommand or by the name it is called.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;

mod daemon;
mod execute;
mod execute_command;
mod explain;
mod leader;
mod local;
mod logging;
mod registry;
mod resolve;
mod terminal;

use server::flags::{FlagTable, Values};

use crate::terminal::{print, print_error};

/// A master makes and drops millions of small values a second: measured, this allocator needs a tenth less of
/// the processor for the whole than that of the C library.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// A program within the binary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Program {
    Master,
    Agent,
    Local,
    Execute,
    Explain,
    Registry,
    Resolve,
    Executor,
    Fetcher,
}

/// The names of the programs as subcommands, and the names of links under which the binary is that
/// program: those of Apache Mesos.
const NAMES: &[(&str, &[&str], Program)] = &[
    ("master", &["mesos-master"], Program::Master),
    ("agent", &["mesos-agent", "mesos-slave"], Program::Agent),
    ("local", &["mesos-local"], Program::Local),
    ("execute", &["mesos-execute"], Program::Execute),
    ("explain", &[], Program::Explain),
    ("registry", &[], Program::Registry),
    ("resolve", &["mesos-resolve"], Program::Resolve),
    ("executor", &["mesos-executor"], Program::Executor),
    ("fetcher", &["mesos-fetcher"], Program::Fetcher),
];

const HELP: &str = "\
Meseta makes many servers look like one pool and lets many schedulers share it.

Usage: meseta COMMAND [flags]

Commands:
  local     run a whole cluster in this process, to try things out
  master    run a master
  agent     run an agent, which offers this machine to a master
  execute   run one command or task on a cluster
  explain   tell why a framework gets no offers
  resolve   print where the leading master is
  registry  export or import the registry of a master
  version   print the version
  help      print this page

Try `meseta local`, or `meseta local -- echo hello`.
`meseta COMMAND --help` lists the flags of a command.
";

fn main() -> ExitCode {
    let arguments: Vec<String> =
        std::env::args_os().map(|word| word.to_string_lossy().into_owned()).collect();
    let called = arguments.first().map_or("meseta", String::as_str);
    let called = Path::new(called).file_name().and_then(|name| name.to_str()).unwrap_or("meseta");
    let rest = arguments.get(1..).unwrap_or_default();
    // Called through a link: the program is decided and every argument is its own.
    if let Some(program) = find(|_, links| links.contains(&called)) {
        let skip = usize::from(rest.first().map(String::as_str) == Some(subcommand(program)));
        return run(program, &rest[skip..]);
    }
    match rest.first().map(String::as_str) {
        None | Some("help" | "--help" | "-h") => {
            print(HELP);
            ExitCode::SUCCESS
        }
        Some("version" | "--version") => version(),
        Some(word) => match find(|name, _| name == word) {
            Some(program) => run(program, &rest[1..]),
            None => {
                print_error(&format!("meseta: unknown command '{word}'; try `meseta help`"));
                ExitCode::FAILURE
            }
        },
    }
}

fn find(matches: impl Fn(&str, &[&str]) -> bool) -> Option<Program> {
    NAMES.iter().find(|(name, links, _)| matches(name, links)).map(|(_, _, program)| *program)
}

fn subcommand(program: Program) -> &'static str {
    NAMES.iter().find(|(_, _, other)| *other == program).map_or("", |(name, _, _)| name)
}

fn version() -> ExitCode {
    print(&format!(
        "meseta {} (speaks Mesos {})\n",
        env!("CARGO_PKG_VERSION"),
        server::host::MESOS_VERSION
    ));
    ExitCode::SUCCESS
}

fn run(program: Program, arguments: &[String]) -> ExitCode {
    match program {
        Program::Master => with_flags(&FlagTable::MASTER, arguments, |values, _| {
            logging::start(values);
            daemon::master(values)
        }),
        Program::Agent => with_flags(&FlagTable::AGENT, arguments, |values, _| {
            logging::start(values);
            daemon::agent(values)
        }),
        Program::Local => with_flags(&FlagTable::LOCAL, arguments, |values, command| {
            // With a command, standard error is the command's.
            logging::start_at(values, if command.is_empty() { "info" } else { "warn" });
            local::run(values, command)
        }),
        Program::Execute => {
            with_flags(&FlagTable::EXECUTE, arguments, |values, _| execute_command::run(values))
        }
        // What is no flag is a framework or a role.
        Program::Explain => with_words(&FlagTable::EXPLAIN, arguments, explain::run),
        Program::Registry => with_words(&FlagTable::REGISTRY, arguments, registry::run),
        Program::Resolve => with_words(&FlagTable::RESOLVE, arguments, |values, words| {
            if values.boolean("verbose") {
                logging::start_at(values, "debug");
            }
            resolve::run(values, words)
        }),
        Program::Executor => code(executor::main()),
        Program::Fetcher => code(containers::fetcher::main()),
    }
}

/// As [`with_flags`], for a command that also takes words that are no flags.
fn with_words(
    table: &FlagTable,
    arguments: &[String],
    run: impl FnOnce(&Values, &[String]) -> anyhow::Result<i32>,
) -> ExitCode {
    let (flags, words): (Vec<_>, Vec<_>) =
        arguments.iter().cloned().partition(|argument| argument.starts_with("--"));
    with_flags(table, &flags, |values, _| run(values, &words))
}

/// Reads the flags, answers `--help` and `--version`, and runs the rest.
///
/// What stands behind `--` is no flag; only `local` takes it.
fn with_flags(
    table: &FlagTable,
    arguments: &[String],
    run: impl FnOnce(&Values, &[String]) -> anyhow::Result<i32>,
) -> ExitCode {
    let split = arguments.iter().position(|argument| argument == "--");
    let takes_command = table.program == FlagTable::LOCAL.program;
    let (flags, command) = match split {
        Some(at) if takes_command => (&arguments[..at], &arguments[at + 1..]),
        Some(_) | None => (arguments, &[][..]),
    };
    let environment: BTreeMap<String, String> = std::env::vars_os()
        .map(|(name, value)| {
            (name.to_string_lossy().into_owned(), value.to_string_lossy().into_owned())
        })
        .collect();
    let result = match table.parse(flags, &environment) {
        Ok(values) if values.boolean("help") => {
            print(&server::flags::help(table));
            return ExitCode::SUCCESS;
        }
        Ok(values) if values.boolean("version") => return version(),
        Ok(values) => run(&values, command),
        Err(error) => Err(error.into()),
    };
    match result {
        Ok(status) => code(status),
        Err(error) => {
            // One line with all causes, so that logs and scripts can take it whole.
            print_error(&format!("meseta {}: {error:#}", table.program));
            ExitCode::FAILURE
        }
    }
}

fn code(status: i32) -> ExitCode {
    ExitCode::from(u8::try_from(status).unwrap_or(1))
}
