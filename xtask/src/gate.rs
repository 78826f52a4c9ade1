//! `cargo xtask gate`: limits for the instructions that the pure parts take.
//!
//! Times depend on what else the machine does; instructions, counted by valgrind, hardly do. So a change
//! that makes one of these slower is noticed on any machine.

use anyhow::{Context as _, Result, bail};

use crate::command::{cargo, exists, output, say};
use crate::test::target_folder;

/// A piece of work of the benchmark `instructions` of a package, and the most instructions it may take.
struct Kernel {
    package: &'static str,
    name: &'static str,
    instructions_max: u64,
}

/// About a sixth above what was measured. Lower a limit when the work has become less; raise one only
/// with a reason in the commit.
const KERNELS: &[Kernel] = &[
    // 1,000 agents offered to 100 frameworks that have declined five times.
    kernel("allocator", "decline", 18_200_000),
    // A thousand cycles in which nothing changed.
    kernel("allocator", "idle", 130_000),
    // 100 agents of 1,000 and of 10,000 became free: the same, up to a third.
    kernel("allocator", "changed-1000", 1_400_000),
    kernel("allocator", "changed-10000", 1_400_000),
    // 300 agents fill the quotas of 300 roles.
    kernel("allocator", "quota", 14_500_000),
    // Twice reserve and unreserve on an agent with 1,600 reservations.
    kernel("allocator", "reserve-operator", 650_000),
    kernel("allocator", "reserve-framework", 680_000),
    // An agent's reregistration with 100 tasks.
    kernel("protocol", "encode-protobuf", 285_000),
    kernel("protocol", "decode-protobuf", 2_650_000),
    kernel("protocol", "write-json", 1_860_000),
    kernel("protocol", "read-json", 14_200_000),
];

const fn kernel(package: &'static str, name: &'static str, instructions_max: u64) -> Kernel {
    Kernel { package, name, instructions_max }
}

/// Counts all, then fails if any is above its limit.
pub(crate) fn gate() -> Result<()> {
    if !exists("valgrind", &["--version"]) {
        bail!("`cargo xtask gate` counts instructions with valgrind, which is not installed");
    }
    let mut exceeded = Vec::new();
    for kernel in KERNELS {
        let Kernel { package, name, instructions_max } = kernel;
        let count = count(kernel).with_context(|| format!("counting {package} {name}"))?;
        let part = count.saturating_mul(100) / instructions_max.max(&1);
        say(&format!(
            "{package:<10} {name:<18} {count:>12} instructions, {part:>3} % of {instructions_max}"
        ));
        if count > *instructions_max {
            exceeded.push(format!("{package} {name}"));
        }
    }
    if exceeded.is_empty() {
        return Ok(());
    }
    bail!("more instructions than allowed: {}", exceeded.join(", "))
}

fn count(kernel: &Kernel) -> Result<u64> {
    let file = target_folder()?.join(format!("callgrind.{}.{}", kernel.package, kernel.name));
    let runner = format!(
        "target.'cfg(all())'.runner = ['valgrind', '--tool=callgrind', '--quiet', \
         '--toggle-collect=*measured*', '--callgrind-out-file={}']",
        file.display(),
    );
    let package = ["--package", kernel.package, "--bench", "instructions"];
    let arguments = ["--config", &runner, "bench", "--quiet"].into_iter().chain(package);
    output(cargo(&arguments.chain(["--", kernel.name]).collect::<Vec<_>>()))?;
    let text = std::fs::read_to_string(&file)
        .with_context(|| format!("reading what valgrind wrote to {}", file.display()))?;
    let total = text.lines().find_map(|line| line.strip_prefix("summary: "));
    let total = total.context("valgrind wrote no summary")?;
    let count = total.trim().parse().with_context(|| format!("reading the count `{total}`"))?;
    if count == 0 {
        bail!(
            "nothing was counted: there is no work of that name, or it was not called `measured`"
        );
    }
    Ok(count)
}
