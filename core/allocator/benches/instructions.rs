//! Work whose instructions `cargo xtask gate` counts: `instructions KERNEL`.
//!
//! Only what runs in [`measured`] counts, so that clusters can be as large as it takes to build them.

mod cluster;

/// The counter runs while this function does: `--toggle-collect` names it.
#[inline(never)]
fn measured(run: &mut dyn FnMut()) {
    run();
}

/// A cycle in which each agent is offered to somebody, after five in which all declined.
fn decline(agents: usize, frameworks: usize) {
    let mut cluster = cluster::partly_used(agents, frameworks);
    for _ in 0..5 {
        let allocations = cluster.allocate();
        cluster.recover(&allocations, Some(cluster::REFUSE_FOR_GOOD));
    }
    let mut count = 0;
    measured(&mut || count = cluster.allocate().len());
    assert_eq!(count, agents);
}

/// A thousand cycles in which nothing has changed.
fn idle(agents: usize) {
    let mut cluster = cluster::filtered(agents);
    measured(&mut || {
        for _ in 0..1_000 {
            assert!(cluster.allocate().is_empty());
        }
    });
}

/// A cycle after a hundred agents of a full cluster became free.
fn changed(agents: usize) {
    let (mut cluster, mut held) = cluster::full(agents);
    cluster::change(&mut cluster, &mut held, 100, 0, &mut |cluster| {
        let mut allocations = Vec::new();
        measured(&mut || allocations = cluster.allocate());
        allocations
    });
}

fn quota(roles: usize) {
    let mut cluster = cluster::with_quotas(roles);
    let mut count = 0;
    measured(&mut || count = cluster.allocate().len());
    assert_eq!(count, roles + roles / 6);
    assert!(cluster.allocate().is_empty());
}

fn reserve(reservations: usize, by_framework: bool) {
    let mut cluster = cluster::with_reservations(reservations, by_framework);
    measured(&mut || cluster::reserve_and_unreserve(&mut cluster, 2, by_framework));
}

fn main() {
    // Cargo adds arguments of its own.
    let kernel = std::env::args().skip(1).find(|argument| !argument.starts_with('-'));
    match kernel.as_deref() {
        Some("decline") => decline(1_000, 100),
        Some("idle") => idle(500),
        Some("changed-1000") => changed(1_000),
        Some("changed-10000") => changed(10_000),
        Some("quota") => quota(300),
        Some("reserve-operator") => reserve(1_600, false),
        Some("reserve-framework") => reserve(1_600, true),
        Some(_) | None => {}
    }
}
