//! Runs simulated clusters, one for each seed, and says which break the invariants.

use std::io::Write as _;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use anyhow::{Context as _, Result, bail};
use simulator::settings::SABOTAGE;
use simulator::{Options, Outcome, Statistics, Trace};

const HELP: &str = "\
Simulates a whole cluster in one thread from one seed: the real state machines of masters and agents,
with modelled frameworks, executors, disks, wires and the service that elects masters and keeps their
registry. Messages are lost, doubled, delayed and reordered; processes die, stand still and come back;
masters are cut off and deposed; the registry's store fails. Frameworks reserve and make volumes; operators
change quota and weights, drain agents, plan maintenance. After every step the invariants are checked.
When the faults end, the cluster must come to rest with every task as its framework was told.

Usage: simulator [OPTIONS]

  --seeds N          how many seeds to run (default 100)
  --first N          the first seed (default 0)
  --seed N           run this one seed only
  --trace            with --seed: write down all that happens
  --steps N          steps with faults before the cluster must come to rest (default 2500)
  --masters N        how many masters (default: 1 to 3, by seed)
  --agents N         how many agents (default: 1 to 4, by seed)
  --frameworks N     how many frameworks (default: 1 to 3, by seed)
  --faults on|off    whether anything goes wrong (default on)
  --sabotage KIND    put a defect into the cluster, to see it found
  --help             this text

Kinds of sabotage: swallow-terminal-updates, launch-twice, forgetful-registry, forgetful-disks,
repeat-old-updates, offer-foreign-reservations, offer-excluded-agents, forget-constraints, raise-limits,
forget-guarantees, swallow-operation-updates, invite-unscheduled, forget-drains, forget-operations,
trust-any-epoch, repeat-epochs, outlive-leases, ignore-deposition, confirm-early, hide-frameworks,
obey-any-master.

Exit code 0: all seeds passed. 1: some failed; for each the command that replays it is printed.
";

/// How many failing seeds are described; a broken cluster fails in all of them.
const FAILURES_MAX: usize = 20;

/// What the command line asks for.
#[derive(Debug)]
struct Command {
    first: u64,
    seeds: u64,
    /// What to repeat on the command line to replay a seed.
    repeated: String,
    options: Options,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.iter().any(|argument| argument == "--help" || argument == "-h") {
        return say(HELP, ExitCode::SUCCESS);
    }
    let outcome = parse(&arguments).and_then(|command| run(&command));
    match outcome {
        Ok(0) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            let text = format!("simulator: {error:#}\nTry --help.\n");
            drop(std::io::stderr().write_all(text.as_bytes()));
            ExitCode::from(2)
        }
    }
}

fn say(text: &str, code: ExitCode) -> ExitCode {
    match std::io::stdout().write_all(text.as_bytes()) {
        Ok(()) => code,
        Err(_) => ExitCode::FAILURE,
    }
}

fn parse(arguments: &[String]) -> Result<Command> {
    let mut command =
        Command { first: 0, seeds: 100, repeated: String::new(), options: Options::default() };
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        let (name, attached) = match argument.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (argument.as_str(), None),
        };
        if name == "--trace" || name == "--verbose" {
            command.options.trace = Trace::Lines;
            continue;
        }
        let value = attached
            .or_else(|| arguments.next().cloned())
            .with_context(|| format!("{name} needs a value"))?;
        let number = || -> Result<u64> {
            value.parse().with_context(|| format!("{name} takes a number, not '{value}'"))
        };
        match name {
            "--seeds" => command.seeds = number()?,
            "--first" => command.first = number()?,
            "--seed" => (command.first, command.seeds) = (number()?, 1),
            "--steps" => command.options.steps = number()?,
            "--masters" => command.options.masters = Some(count(name, number()?, 9)?),
            "--agents" => command.options.agents = Some(count(name, number()?, 200)?),
            "--frameworks" => command.options.frameworks = Some(count(name, number()?, 100)?),
            "--faults" => match value.as_str() {
                "on" => command.options.faults = true,
                "off" => command.options.faults = false,
                other => bail!("--faults takes on or off, not '{other}'"),
            },
            "--sabotage" => {
                let kind = SABOTAGE.iter().find(|(kind, _)| *kind == value);
                let (_, kind) = kind.with_context(|| format!("no sabotage is called '{value}'"))?;
                command.options.sabotage = Some(*kind);
            }
            other => bail!("there is no option '{other}'"),
        }
        if !matches!(name, "--seeds" | "--first" | "--seed") {
            command.repeated.push_str(&format!(" {name} {value}"));
        }
    }
    Ok(command)
}

fn count(name: &str, number: u64, max: usize) -> Result<usize> {
    let count = usize::try_from(number).unwrap_or(usize::MAX);
    if count == 0 || count > max {
        bail!("{name} takes a number from 1 to {max}, not {number}");
    }
    Ok(count)
}

/// Runs all seeds, as many at a time as there are processors, and says how many failed.
fn run(command: &Command) -> Result<u64> {
    // A panic of a state machine is reported as a violation of its seed, once.
    std::panic::set_hook(Box::new(|_| {}));
    let started = Instant::now();
    let next = AtomicU64::new(0);
    let outcomes: Mutex<Vec<(u64, Outcome)>> = Mutex::new(Vec::new());
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    if index >= command.seeds {
                        return;
                    }
                    let seed = command.first + index;
                    let outcome = simulator::run(seed, &command.options);
                    if let Ok(mut outcomes) = outcomes.lock() {
                        outcomes.push((seed, outcome));
                    }
                }
            });
        }
    });
    let mut outcomes = outcomes.into_inner().unwrap_or_default();
    outcomes.sort_by_key(|(seed, _)| *seed);
    report(command, &outcomes, started.elapsed().as_secs_f64())
}

fn report(command: &Command, outcomes: &[(u64, Outcome)], seconds: f64) -> Result<u64> {
    let mut total = Statistics::default();
    let mut failed: u64 = 0;
    let mut shown = 0;
    let mut out = std::io::stdout().lock();
    for (seed, outcome) in outcomes {
        total.add(&outcome.statistics);
        let Some(violation) = &outcome.violation else { continue };
        failed += 1;
        if shown < FAILURES_MAX {
            shown += 1;
            writeln!(out, "seed {seed}: {violation}")?;
            let repeated = &command.repeated;
            writeln!(out, "  cargo run --release -p simulator -- --seed {seed} --trace{repeated}")?;
        }
    }
    let seeds = u64::try_from(outcomes.len()).unwrap_or(u64::MAX);
    writeln!(out, "{seeds} seeds in {seconds:.1} s: {total}")?;
    let faults: Vec<String> =
        total.faults.iter().map(|(kind, count)| format!("{kind} {count}")).collect();
    writeln!(out, "faults: {}", faults.join(", "))?;
    writeln!(out, "{} passed, {failed} failed", seeds - failed)?;
    Ok(failed)
}
