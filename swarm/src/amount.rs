//! How much of an agent something takes: CPUs and memory, exactly.

use std::ops::{Add, AddAssign, Sub, SubAssign};

use protocol::mesos::{self, value};

/// Mesos compares scalars in thousandths.
const THOUSANDTHS: f64 = 1000.0;

/// CPUs and memory in thousandths, so that sums do not drift.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Amount {
    pub(crate) millicpus: i64,
    /// Thousandths of a megabyte.
    pub(crate) millimegabytes: i64,
}

impl Amount {
    pub(crate) fn new(cpus: f64, megabytes: f64) -> Self {
        Self { millicpus: thousandths(cpus), millimegabytes: thousandths(megabytes) }
    }

    /// What stands in a list of resources, whatever its reservations.
    pub(crate) fn of(resources: &[mesos::Resource]) -> Self {
        let mut amount = Self::default();
        for resource in resources {
            let value = resource.scalar.as_ref().map_or(0, |scalar| thousandths(scalar.value));
            match resource.name.as_str() {
                "cpus" => amount.millicpus += value,
                "mem" => amount.millimegabytes += value,
                _ => {}
            }
        }
        amount
    }

    pub(crate) fn fits_in(self, other: Self) -> bool {
        self.millicpus <= other.millicpus && self.millimegabytes <= other.millimegabytes
    }

    /// How many of these `total` holds.
    pub(crate) fn times_in(self, total: Self) -> u32 {
        let times = |part: i64, whole: i64| if part > 0 { whole.max(0) / part } else { i64::MAX };
        let fewest = times(self.millicpus, total.millicpus)
            .min(times(self.millimegabytes, total.millimegabytes));
        u32::try_from(fewest).unwrap_or(u32::MAX)
    }

    pub(crate) fn times(self, count: u32) -> Self {
        let count = i64::from(count);
        Self { millicpus: self.millicpus * count, millimegabytes: self.millimegabytes * count }
    }

    /// The resources of a task: to be taken out of an offer, whose allocation the master fills in.
    pub(crate) fn to_resources(self) -> Vec<mesos::Resource> {
        vec![scalar("cpus", self.cpus()), scalar("mem", self.megabytes())]
    }

    #[expect(clippy::cast_precision_loss, reason = "amounts are far below 2^53 thousandths")]
    pub(crate) fn cpus(self) -> f64 {
        self.millicpus as f64 / THOUSANDTHS
    }

    #[expect(clippy::cast_precision_loss, reason = "amounts are far below 2^53 thousandths")]
    pub(crate) fn megabytes(self) -> f64 {
        self.millimegabytes as f64 / THOUSANDTHS
    }
}

#[expect(clippy::cast_possible_truncation, reason = "a float cast saturates, which is wanted")]
fn thousandths(value: f64) -> i64 {
    (value * THOUSANDTHS).round() as i64
}

pub(crate) fn scalar(name: &str, value: f64) -> mesos::Resource {
    mesos::Resource {
        name: name.to_owned(),
        r#type: value::Type::Scalar,
        scalar: Some(value::Scalar { value, ..Default::default() }),
        ..Default::default()
    }
}

impl Add for Amount {
    type Output = Self;

    fn add(mut self, other: Self) -> Self {
        self += other;
        self
    }
}

impl AddAssign for Amount {
    fn add_assign(&mut self, other: Self) {
        self.millicpus += other.millicpus;
        self.millimegabytes += other.millimegabytes;
    }
}

impl Sub for Amount {
    type Output = Self;

    fn sub(mut self, other: Self) -> Self {
        self -= other;
        self
    }
}

impl SubAssign for Amount {
    fn sub_assign(&mut self, other: Self) {
        self.millicpus -= other.millicpus;
        self.millimegabytes -= other.millimegabytes;
    }
}

impl std::fmt::Display for Amount {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "cpus:{};mem:{}", self.cpus(), self.megabytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resources_become_amounts_and_back() {
        let amount = Amount::new(0.1, 32.0) + Amount::new(0.2, 0.5);
        assert_eq!(amount, Amount { millicpus: 300, millimegabytes: 32_500 });
        let mut resources = amount.to_resources();
        resources.push(scalar("disk", 1024.0));
        assert_eq!(Amount::of(&resources), amount);
        assert_eq!(amount.to_string(), "cpus:0.3;mem:32.5");
    }

    #[test]
    fn the_scarcest_resource_decides_how_often_an_amount_fits() {
        let task = Amount::new(0.5, 100.0);
        assert_eq!(task.times_in(Amount::new(4.0, 250.0)), 2);
        assert_eq!(task.times_in(Amount::new(-1.0, 250.0)), 0);
        assert!(task.times(2).fits_in(Amount::new(1.0, 200.0)));
        assert!(!task.times(2).fits_in(Amount::new(1.0, 199.0)));
    }
}
