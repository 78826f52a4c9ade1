use crate::text::{ParseResourcesError, parse_list};
use crate::{Quantity, Ranges, Reservation, Resource, Resources, Value, role};

/// What was found on the machine of an agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Detected {
    pub cpus: u32,
    /// Main memory in bytes.
    pub mem_bytes: u64,
    /// Size in bytes of the file system that holds the agent's work directory.
    pub disk_bytes: u64,
    pub gpus: u32,
}

const MEGABYTE: u64 = 1024 * 1024;
const GIGABYTE: u64 = 1024 * MEGABYTE;
/// Memory left to the system; machines with less than twice as much keep half.
const MEM_LEFT: u64 = GIGABYTE;
/// Disk left to the system; smaller file systems keep half.
const DISK_LEFT: u64 = 5 * GIGABYTE;
/// The ports an agent offers when told nothing.
const PORTS: (u64, u64) = (31_000, 32_000);

impl Resources {
    /// The resources of an agent: what the flag `--resources` says, and for `cpus`, `gpus`,
    /// `mem`, `disk` and `ports` that it does not mention, what was detected
    /// (`src/slave/containerizer/containerizer.cpp` of Mesos).
    ///
    /// # Errors
    /// The text of the flag is refused.
    pub fn of_agent(
        flag: &str,
        default_role: &str,
        detected: &Detected,
    ) -> Result<Self, ParseResourcesError> {
        let listed = parse_list(flag, default_role)?;
        let mem = available(detected.mem_bytes, MEM_LEFT);
        let disk = available(detected.disk_bytes, DISK_LEFT);
        let ports = Ranges::new([PORTS]).unwrap_or_default();
        let defaults = [
            ("cpus", Value::Scalar(Quantity::from_units(detected.cpus))),
            ("gpus", Value::Scalar(Quantity::from_units(detected.gpus))),
            ("mem", Value::Scalar(mem)),
            ("disk", Value::Scalar(disk)),
            ("ports", Value::Ranges(ports)),
        ];
        let missing = defaults
            .into_iter()
            .filter(|(name, _)| listed.iter().all(|resource| resource.name() != *name))
            .map(|(name, value)| reserved_by_default(Resource::new(name, value), default_role));
        Ok(missing.chain(listed.iter().cloned()).collect())
    }
}

fn reserved_by_default(resource: Resource, default_role: &str) -> Resource {
    if default_role == role::UNRESERVED {
        return resource;
    }
    resource.with_reservations([Reservation::fixed(default_role)].into())
}

/// Whole megabytes, in which Mesos counts memory and disk.
fn available(total: u64, left: u64) -> Quantity {
    let bytes = if total >= 2 * left { total - left } else { total / 2 };
    Quantity::from_count(bytes / MEGABYTE)
}

#[cfg(test)]
mod tests {
    use super::{Detected, GIGABYTE, MEGABYTE};
    use crate::Resources;

    const DETECTED: Detected =
        Detected { cpus: 8, mem_bytes: 16 * GIGABYTE, disk_bytes: 100 * GIGABYTE, gpus: 0 };

    fn of_agent(flag: &str, role: &str, detected: &Detected) -> String {
        Resources::of_agent(flag, role, detected).unwrap().to_string()
    }

    #[test]
    fn says_nothing_gets_everything_detected() {
        let expected = "cpus:8; mem:15360; disk:97280; ports:[31000-32000]";
        assert_eq!(of_agent("", "*", &DETECTED), expected);
    }

    #[test]
    fn small_machines_keep_half() {
        let small = Detected {
            mem_bytes: 2 * GIGABYTE - 1,
            disk_bytes: 10 * GIGABYTE - MEGABYTE,
            ..DETECTED
        };
        let expected = "cpus:8; mem:1023; disk:5119; ports:[31000-32000]";
        assert_eq!(of_agent("", "*", &small), expected);
    }

    #[test]
    fn what_is_mentioned_is_not_detected_even_if_zero() {
        let expected = "mem:15360; disk:97280; ports:[1-2]; bugs:{a}";
        assert_eq!(of_agent("cpus:0;ports:[1-2];bugs:{a}", "*", &DETECTED), expected);
    }

    #[test]
    fn the_default_role_reserves_what_is_detected() {
        let resources = Resources::of_agent("cpus(*):1", "dev", &DETECTED).unwrap();
        assert_eq!(resources.unreserved().to_string(), "cpus:1");
        assert_eq!(resources.reserved_to("dev").len(), 3);
    }
}
