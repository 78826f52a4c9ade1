use std::collections::BTreeMap;

use super::*;
use crate::flags::FlagTable;

type TestResult = Result<(), Box<dyn std::error::Error>>;

fn options(table: FlagTable, arguments: &[&str]) -> Result<MasterOptions, OptionsError> {
    let arguments: Vec<String> = arguments.iter().map(|it| (*it).to_owned()).collect();
    match table.parse(&arguments, &BTreeMap::new()) {
        Ok(values) => MasterOptions::from_flags(&values),
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn the_defaults_are_those_of_mesos() -> TestResult {
    let options = options(FlagTable::MASTER, &["--work_dir=/var/lib/meseta"])?;
    assert_eq!(options.port, 5050);
    assert_eq!(options.ip, Ipv4Addr::UNSPECIFIED);
    assert!(options.hostname_lookup);
    assert_eq!(options.registry, RegistryStore::WorkDir("/var/lib/meseta".into()));
    let expected = Config::new(0, Pid::EMPTY, String::new());
    assert_eq!(options.settings, expected, "the table of flags and the core agree");
    Ok(())
}

#[test]
fn flags_reach_the_settings() -> TestResult {
    let options = options(
        FlagTable::MASTER,
        &[
            "--work_dir=/w",
            "--registry=in_memory",
            "--ip=10.1.2.3",
            "--port=1",
            "--advertise_ip=10.9.9.9",
            "--advertise_port=99",
            "--no-hostname_lookup",
            "--cluster=lab",
            "--weights=ads=2,search=3.5",
            "--role_sorter=priority",
            "--framework_sorter=random",
            "--roles=ads,search",
            "--min_allocatable_resources=cpus:1|mem:64;disk:1",
            "--agent_removal_rate_limit=2/10mins",
            "--recovery_agent_removal_limit=25%",
            "--offer_timeout=30secs",
            "--allocation_interval=50ms",
            "--max_agent_ping_timeouts=7",
            "--no-root_submissions",
            "--allocator_agent_recovery_factor=0.5",
            "--allocator_recovery_timeout=1mins",
            "--offer_constraints_re2_max_mem=8KB",
            "--offer_constraints_re2_max_program_size=50",
            "--whitelist=/etc/hosts.allowed",
            "--require_agent_domain",
            r#"--domain={"fault_domain":{"region":{"name":"eu"},"zone":{"name":"eu-1"}}}"#,
        ],
    )?;
    assert_eq!(options.registry, RegistryStore::InMemory);
    assert_eq!((options.ip, options.port), (Ipv4Addr::new(10, 1, 2, 3), 1));
    assert_eq!(options.advertise_ip, Some(Ipv4Addr::new(10, 9, 9, 9)));
    assert_eq!(options.advertise_port, Some(99));
    let address = SocketAddrV4::new(Ipv4Addr::new(10, 9, 9, 9), 99);
    assert_eq!(options.published_name(address), "10.9.9.9");
    assert!(options.flags.contains(&("cluster".to_owned(), "lab".to_owned())));
    let settings = options.settings;
    assert_eq!(settings.weights.get("search"), Some(&3.5));
    assert_eq!(settings.role_sorter, master::SorterPolicy::Priority);
    assert_eq!(settings.framework_sorter, master::SorterPolicy::Random);
    assert_eq!(settings.roles.map(|roles| roles.len()), Some(2));
    assert_eq!(settings.min_allocatable_resources.len(), 2);
    assert_eq!(settings.agent_removal_interval, Some(Duration::from_secs(300)));
    assert!((settings.recovery_agent_removal_limit - 0.25).abs() < 1e-9);
    assert_eq!(settings.offer_timeout, Some(Duration::from_secs(30)));
    assert_eq!(settings.allocation_interval, Duration::from_millis(50));
    assert_eq!(settings.max_agent_ping_timeouts, 7);
    assert!(!settings.root_submissions);
    assert!((settings.allocator_agent_recovery_factor - 0.5).abs() < 1e-9);
    assert_eq!(settings.allocator_recovery_timeout, Duration::from_secs(60));
    assert_eq!(settings.constraint_limits.memory_max, 8192);
    assert_eq!(settings.constraint_limits.program_size_max, 50);
    assert_eq!(options.whitelist, Some("/etc/hosts.allowed".into()));
    assert!(settings.require_agent_domain);
    let domain = settings.domain.and_then(|domain| domain.fault_domain);
    assert_eq!(domain.map(|domain| domain.zone.name), Some("eu-1".to_owned()));
    Ok(())
}

#[test]
fn a_local_cluster_has_fewer_flags() -> TestResult {
    let options = options(FlagTable::LOCAL, &["--port=0"])?;
    assert_eq!(options.ip, Ipv4Addr::LOCALHOST);
    assert_eq!(options.registry, RegistryStore::InMemory);
    Ok(())
}

#[test]
fn nonsense_is_refused_by_name() {
    for (flag, reason) in [
        ("--weights=ads", "'ads' is not role=weight"),
        ("--weights=ads=-1", "must be a positive number"),
        ("--weights=ads=1,ads=2", "named twice"),
        ("--roles=a,-b", "Role component '-b' is invalid because it starts with a dash"),
        ("--offer_timeout=0secs", "must be greater than zero"),
        ("--domain={}", "`domain` must define `fault_domain`"),
        ("--min_allocatable_resources=x", "min_allocatable_resources"),
        ("--ip_discovery_command=echo here", "printed 'here'"),
        ("--ip_discovery_command=exit 3", "ended with"),
    ] {
        let error = options(FlagTable::MASTER, &["--work_dir=/w", flag])
            .err()
            .map(|error| error.to_string())
            .unwrap_or_default();
        assert!(error.contains(reason), "{flag}: {error}");
    }
    let both = ["--work_dir=/w", "--ip=127.0.0.1", "--ip_discovery_command=echo 127.0.0.1"];
    assert!(matches!(options(FlagTable::MASTER, &both), Err(OptionsError::Conflict(..))));
}

#[test]
fn the_address_may_be_printed_by_a_command() -> TestResult {
    let flags = ["--work_dir=/w", "--ip_discovery_command=echo 127.0.0.9"];
    assert_eq!(options(FlagTable::MASTER, &flags)?.ip, Ipv4Addr::new(127, 0, 0, 9));
    Ok(())
}
