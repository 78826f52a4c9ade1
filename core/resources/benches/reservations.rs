//! One agent with thousands of reservations that differ by label: how long twenty times
//! reserving and unreserving takes, and that it does not grow with the number of reservations.

#![expect(clippy::print_stdout, reason = "a bench reports on standard output")]
#![expect(clippy::disallowed_methods, reason = "a bench reads the clock")]

use std::time::{Duration, Instant};

use protocol::mesos;
use resources::{Quantity, Reservation, Resource, Resources};

const ROUNDS: u32 = 20;
const REPEATS: u32 = 5;

fn labelled(number: u32) -> Resources {
    let label = mesos::Label {
        key: "reservation".to_owned(),
        value: Some(format!("value-{number}")),
        ..Default::default()
    };
    let labels = mesos::Labels { labels: vec![label], ..Default::default() };
    let reservation = Reservation::dynamic("dev", Some("alice")).with_labels(labels);
    let cpus = Resources::from(Resource::scalar("cpus", Quantity::from_units(1)));
    cpus.push_reservation(&reservation).unwrap_or_default()
}

fn agent(reservations: u32) -> Resources {
    let unreserved = Resource::scalar("cpus", Quantity::from_units(100));
    let reserved = (0..reservations).flat_map(labelled);
    std::iter::once(unreserved).chain(reserved).collect()
}

/// The best of several runs, which the machine disturbs least.
fn best(mut run: impl FnMut()) -> Duration {
    let time = |_| {
        let start = Instant::now();
        run();
        start.elapsed()
    };
    (0..REPEATS).map(time).min().unwrap_or_default()
}

fn reserve_and_unreserve(total: &mut Resources) {
    let plain = Resources::from(Resource::scalar("cpus", Quantity::from_units(1)));
    for round in 0..ROUNDS {
        let reserved = labelled(1_000_000 + round);
        assert!(total.checked_sub_assign(&plain));
        *total += &reserved;
        assert!(total.contains(&reserved));
        assert!(total.checked_sub_assign(&reserved));
        *total += &plain;
    }
}

fn main() {
    let mut results = Vec::new();
    for size in [800, 1_600, 3_200, 6_400] {
        let mut total = agent(size);
        assert_eq!(total.len(), 1 + size as usize);
        let change = best(|| reserve_and_unreserve(&mut total));
        assert_eq!(total, agent(size));
        let whole = total.clone();
        let walk = best(|| {
            let doubled = &whole + &whole;
            assert!(doubled.checked_sub(&whole).is_some_and(|rest| rest == whole));
        });
        let wire = total.to_wire();
        let read =
            best(|| assert_eq!(Resources::from_wire(&wire).map(|it| it.len()), Ok(whole.len())));
        let milliseconds = |duration: Duration| duration.as_secs_f64() * 1e3;
        println!(
            "{size:>5} reservations: {ROUNDS} x reserve+unreserve {:.3} ms, \
             add+subtract all {:.3} ms, read all from the wire {:.3} ms",
            milliseconds(change),
            milliseconds(walk),
            milliseconds(read),
        );
        results.push([change, walk, read].map(|duration| duration.as_secs_f64()));
    }
    let (Some(first), Some(last)) = (results.first(), results.last()) else { return };
    let ratio = |index: usize| last[index] / first[index];
    println!(
        "6400 / 800 (linear is 8): reserve+unreserve {:.1}, add+subtract {:.1}, read {:.1}",
        ratio(0),
        ratio(1),
        ratio(2),
    );
}
