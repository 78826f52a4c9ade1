//! A whole cluster of real processes under faults: masters, ZooKeeper servers, agents, and two frameworks with a
//! steady stream of short tasks. After each fault all must be well again, and nothing may have been lost.

mod check;
mod fault;
mod ledger;
mod report;
mod sdk_stream;
mod world;

use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use self::fault::Fault;
pub use self::report::Report;
use self::world::World;

/// What is tried.
#[derive(Clone, Debug)]
pub struct ChaosOptions {
    /// How many faults, one after the other.
    pub faults: usize,
    /// Which ones, in which order, on whom.
    pub seed: u64,
    /// Only faults whose names contain this.
    pub only: String,
}

/// Runs everything. `None`, and a line that says so, where ZooKeeper is not installed. `leavings` is where the
/// logs are put if something is wrong, or worth a look.
///
/// # Panics
/// When the cluster does not come up.
#[must_use]
pub fn run(options: &ChaosOptions, leavings: &Path) -> Option<Report> {
    let mut world = World::start(options.seed)?;
    let start = Instant::now();
    let possible = Fault::ALL.iter().copied().filter(|fault| fault.is_possible(&world));
    let possible: Vec<Fault> =
        possible.filter(|fault| fault.name().contains(&options.only)).collect();
    assert!(!possible.is_empty(), "no possible fault is called '{}'", options.only);
    let mut counts = vec![0; possible.len()];
    let mut report = Report { seed: options.seed, ..Report::default() };
    warm_up(&mut world, &mut report);
    let mut order = Vec::new();
    for number in 1..=options.faults {
        if report.violations.len() > VIOLATIONS_MAX {
            break;
        }
        // Each kind once, in some order, before any kind comes again.
        if order.is_empty() {
            order = (0..possible.len()).collect();
            world.random.shuffle(&mut order);
        }
        let chosen = order.pop().unwrap_or_default();
        let fault = possible[chosen];
        counts[chosen] += 1;
        let (began, failures) = (Instant::now(), report.violations.len());
        fault.happen(&mut world);
        let settled = check::settle(&mut world, clock());
        let slow = settled.as_ref().ok().filter(|settled| settled.time > SLOW);
        let slow = slow.map(|settled| format!(", last of all: {}", settled.last));
        note(&mut report, fault.name(), settled.err());
        let wrong = check::examine(&mut world);
        note(&mut report, fault.name(), wrong);
        let verdict = if report.violations.len() == failures { "well" } else { "WRONG" };
        let seconds = began.elapsed().as_secs_f64();
        let (name, slow) = (fault.name(), slow.unwrap_or_default());
        say(&format!("{number}/{}: {name} ({seconds:.1} s): {verdict}{slow}", options.faults));
    }
    report.faults = possible.iter().map(|fault| fault.name()).zip(counts).collect();
    report.time = start.elapsed();
    let until = clock();
    let settled = check::settle(&mut world, until);
    note(&mut report, "all", settled.err());
    report.collect(&world, until);
    if report.is_worth_a_look() {
        keep_logs(&world, leavings);
    }
    Some(report)
}

/// What took longer is explained.
const SLOW: Duration = Duration::from_secs(8);

/// After so many there is no point in going on.
const VIOLATIONS_MAX: usize = 20;

/// Waits until tasks run on a cluster without faults.
fn warm_up(world: &mut World, report: &mut Report) {
    world.pass(Duration::from_secs(3));
    let settled = check::settle(world, clock());
    note(report, "nothing", settled.err());
}

/// Takes down what is wrong, once.
fn note(report: &mut Report, fault: &str, wrong: impl IntoIterator<Item = String>) {
    for violation in wrong {
        if !report.violations.iter().any(|known| known.ends_with(&violation)) {
            say(&format!("after '{fault}': {violation}"));
            report.violations.push(format!("after '{fault}': {violation}"));
        }
    }
}

/// Copies what daemons, frameworks and tasks have written.
fn keep_logs(world: &World, to: &Path) {
    let _ = std::fs::remove_dir_all(to);
    std::fs::create_dir_all(to).expect("a folder for the logs");
    for entry in std::fs::read_dir(world.cluster.folder()).expect("the folder of the cluster") {
        let path = entry.expect("an entry").path();
        if let (true, Some(name)) = (path.is_file(), path.file_name()) {
            std::fs::copy(&path, to.join(name)).expect("a copy");
        }
    }
    say(&format!("the logs are kept in {}", to.display()));
}

/// Seconds since 1970, as logs and ledgers have them.
fn clock() -> f64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.expect("the clock is past 1970").as_secs_f64()
}

#[expect(clippy::print_stderr, reason = "whoever waits for so long wants to see how it goes")]
fn say(line: &str) {
    eprintln!("{line}");
}
