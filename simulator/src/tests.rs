use super::*;

fn outcome(seed: u64, options: Options) -> Outcome {
    World::new(seed, options).run()
}

/// Small enough to be quick without optimization.
fn short() -> Options {
    Options { steps: 800, ..Options::default() }
}

#[test]
fn some_seeds_pass_with_faults() {
    for seed in 0..8 {
        let outcome = outcome(seed, short());
        assert_eq!(outcome.violation, None, "seed {seed}");
        assert!(outcome.statistics.steps > 800);
    }
}

#[test]
fn a_healthy_cluster_finishes_tasks() {
    let outcome = outcome(1, Options { faults: false, ..short() });
    assert_eq!(outcome.violation, None);
    assert_eq!(outcome.statistics.faults_total(), 0);
    assert!(outcome.statistics.tasks_finished > 0);
    assert_eq!(outcome.statistics.agents_overcounted, 0);
}

#[test]
fn one_seed_gives_one_history() {
    let run = |seed| {
        let outcome = outcome(seed, Options { trace: Trace::Checksum, ..short() });
        (outcome.checksum, outcome.statistics)
    };
    assert_eq!(run(3), run(3));
    assert_ne!(run(3).0, run(4).0);
}

/// Each kind of sabotage is found with the first few seeds, by the check that is meant for it.
#[test]
fn sabotage_is_found() {
    for (kind, expected) in [
        (Sabotage::SwallowTerminalUpdates, "invariant 3"),
        (Sabotage::LaunchTwice, "invariant"),
        (Sabotage::ForgetfulRegistry, "invariant 5"),
        (Sabotage::ForgetfulRegistry, "acknowledged"),
        (Sabotage::TrustAnyEpoch, "invariant 4"),
        (Sabotage::RepeatEpochs, "invariant 4"),
        (Sabotage::OutliveLeases, "invariant 4"),
        (Sabotage::IgnoreDeposition, "invariant 5"),
        (Sabotage::ConfirmEarly, "invariant 5"),
        (Sabotage::HideFrameworks, "acknowledged"),
        (Sabotage::ObeyAnyMaster, "invariant 4"),
        (Sabotage::ForgetfulDisks, "invariant 5"),
        (Sabotage::RepeatOldUpdates, "invariant 3"),
        (Sabotage::OfferForeignReservations, "reservations"),
        (Sabotage::OfferExcludedAgents, "drains"),
        (Sabotage::ForgetConstraints, "constraints"),
        (Sabotage::RaiseLimits, "limits"),
        (Sabotage::ForgetGuarantees, "guarantees"),
        (Sabotage::SwallowOperationUpdates, "operations"),
        (Sabotage::InviteUnscheduled, "maintenance"),
        (Sabotage::ForgetDrains, "drains"),
        (Sabotage::ForgetOperations, "operations"),
    ] {
        let options = Options { sabotage: Some(kind), ..short() };
        let mut found = (0..40).filter_map(|seed| outcome(seed, options.clone()).violation);
        assert!(found.any(|found| found.contains(expected)), "{kind:?} is not found: {expected}");
    }
}
