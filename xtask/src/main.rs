//! The project's own tasks, run as `cargo xtask <task>`.

mod bench;
mod chaos;
mod ci;
mod command;
mod docs;
mod gate;
mod generate;
mod swarm;
mod test;
mod tidy;

use anyhow::bail;

const TASKS: &str = "\
tasks:
  test [FILTER]       install what the tests need and run them all
  ci                  all checks and all tests
  check               the quick checks: fmt, clippy, generated code, tidy
  bench               run the benchmarks whose numbers stand in SPECIFICATION.md
  gate                count the instructions of the pure parts and compare them with limits
  chaos [--faults=200] [--seed=N] [--only=TEXT]
                      kill, pause and cut off the parts of a real cluster
  swarm [FILTER]      run the load generator's scenarios at full size (takes a while)
  docs                write the pages that are made from tables in the code
  generate [--check]  write the message types from proto/, or compare them
  tidy                check the project's own rules";

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        ["test", rest @ ..] => test::test(rest),
        ["ci"] => ci::ci(),
        ["check"] => ci::check(),
        ["bench"] => bench::bench(),
        ["gate"] => gate::gate(),
        ["chaos", rest @ ..] => chaos::chaos(rest),
        ["swarm"] => swarm::swarm(""),
        ["swarm", filter] => swarm::swarm(filter),
        ["docs"] => docs::docs(),
        ["generate"] => generate::run(generate::Mode::Write),
        ["generate", "--check"] => generate::run(generate::Mode::Check),
        ["tidy"] => tidy::tidy(),
        _ => bail!("{TASKS}"),
    }
}
