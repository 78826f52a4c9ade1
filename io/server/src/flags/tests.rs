use std::collections::{BTreeMap, BTreeSet};

use super::{FlagTable, help, markdown};

const TABLES: [FlagTable; 7] = [
    FlagTable::MASTER,
    FlagTable::AGENT,
    FlagTable::LOCAL,
    FlagTable::EXECUTE,
    FlagTable::EXPLAIN,
    FlagTable::REGISTRY,
    FlagTable::RESOLVE,
];

fn arguments(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

fn environment(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn error(words: &[&str]) -> String {
    FlagTable::MASTER.parse(&arguments(words), &BTreeMap::new()).unwrap_err().to_string()
}

#[test]
fn every_default_fits_its_kind_and_every_name_is_unique() {
    for table in TABLES {
        let mut names = BTreeSet::new();
        for flag in table.flags() {
            if let Some(default) = flag.default {
                let normal = flag.kind.normalise(default);
                assert_eq!(normal.as_deref(), Some(default), "{} {}", table.program, flag.name);
            }
            for name in std::iter::once(&flag.name).chain(flag.deprecated_names) {
                assert!(names.insert(*name), "{} has two flags {name}", table.program);
            }
            assert!(flag.help.ends_with('.'), "{}: {}", flag.name, flag.help);
        }
    }
}

#[test]
fn the_command_line_wins_over_the_environment() {
    let variables = environment(&[("MESOS_PORT", "1"), ("MESOS_cluster", "blue")]);
    let words = arguments(&["--work_dir=/w", "--port=2"]);
    let values = FlagTable::MASTER.parse(&words, &variables).unwrap();
    assert_eq!(values.port("port"), Some(2));
    assert_eq!(values.text("cluster"), Some("blue"));
}

#[test]
fn booleans_have_four_spellings() {
    let spellings: [(&[&str], bool); 4] = [
        (&["--quiet"], true),
        (&["--no-quiet"], false),
        (&["--quiet=1"], true),
        (&["--quiet=false"], false),
    ];
    for (words, expected) in spellings {
        let mut words = arguments(words);
        words.push("--work_dir=/w".to_owned());
        let values = FlagTable::MASTER.parse(&words, &BTreeMap::new()).unwrap();
        assert_eq!(values.boolean("quiet"), expected, "{words:?}");
    }
}

#[test]
fn values_are_shown_as_mesos_shows_them() {
    let words = arguments(&["--work_dir=/w", "--agent_ping_timeout=30000ms"]);
    let values = FlagTable::MASTER.parse(&words, &BTreeMap::new()).unwrap();
    let shown: BTreeMap<String, String> = values.display().into_iter().collect();
    assert_eq!(shown["agent_ping_timeout"], "30secs");
    assert_eq!(shown["root_submissions"], "true");
    assert!(!shown.contains_key("offer_timeout"), "unset flags are not shown");
}

#[test]
fn a_file_gives_a_value_without_its_line_end() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cluster");
    std::fs::write(&path, "green\n").unwrap();
    let words = arguments(&["--work_dir=/w", &format!("--cluster=file://{}", path.display())]);
    let values = FlagTable::MASTER.parse(&words, &BTreeMap::new()).unwrap();
    assert_eq!(values.text("cluster"), Some("green"));
    let missing = error(&["--work_dir=/w", "--cluster=file:///nowhere/at/all"]);
    assert!(missing.contains("--cluster=file:///nowhere/at/all"), "{missing}");
}

#[test]
fn mistakes_name_the_flag_the_value_and_what_is_accepted() {
    assert_eq!(
        error(&["--work_dir=/w", "--port=http"]),
        "flag --port=http is not accepted: expected a port from 0 to 65535 (0 lets the system \
         choose)"
    );
    assert_eq!(
        error(&["--work_dir=/w", "--prot=1"]),
        "unknown flag --prot (did you mean --port?); `meseta master --help` lists what is accepted"
    );
    assert!(error(&["--work_dir=/w", "--port=1", "--port=1"]).contains("--port is given more"));
    assert!(error(&["--work_dir=/w", "stray"]).contains("'stray'"));
    assert!(error(&["--work_dir=/w", "--no-port"]).contains("not boolean"));
    assert!(error(&["--work_dir=/w", "--cluster"]).contains("needs a value"));
    assert!(error(&[]).contains("--work_dir is required"));
    assert!(error(&["--work_dir=/w", "--agent_ping_timeout=1hrs"]).contains("1secs to 900secs"));
}

#[test]
fn security_that_is_not_there_is_refused_and_not_ignored() {
    let refused = error(&["--work_dir=/w", "--acls={}"]);
    assert!(refused.starts_with("flag --acls={} is not supported"), "{refused}");
}

#[test]
fn secrets_are_read_and_never_shown() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("credentials").display().to_string();
    std::fs::write(&path, "p hidden\n").unwrap();
    for (given, shown) in [(path.as_str(), path.as_str()), ("p hidden", "(not shown)")] {
        let words = arguments(&["--work_dir=/w", &format!("--credentials={given}")]);
        let values = FlagTable::MASTER.parse(&words, &BTreeMap::new()).unwrap();
        assert!(values.credentials("credentials").unwrap().unwrap().verify("p", "hidden"));
        let displayed = values.display().into_iter().find(|(name, _)| name == "credentials");
        assert_eq!(displayed.unwrap().1, shown);
    }
}

#[test]
fn passwords_of_ensembles_are_used_and_never_shown() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("zk").display().to_string();
    let url = "zk://me:secret@a:2181,b:2181/mesos";
    std::fs::write(&path, format!("{url}\n")).unwrap();
    let file = format!("file://{path}");
    for (given, shown) in [(url, "zk://me:***@a:2181,b:2181/mesos"), (file.as_str(), path.as_str())]
    {
        let words = arguments(&["--work_dir=/w", &format!("--master={given}")]);
        let values = FlagTable::AGENT.parse(&words, &BTreeMap::new()).unwrap();
        assert_eq!(values.text("master"), Some(url));
        assert_eq!(values.shown("master"), Some(shown));
        assert!(!format!("{:?}", values.display()).contains("secret"));
    }
    let stray = arguments(&["--work_dir=/w", url]);
    let error = FlagTable::AGENT.parse(&stray, &BTreeMap::new()).unwrap_err().to_string();
    assert!(error.contains("zk://me:***@a"), "{error}");
}

#[test]
fn deprecated_names_work_and_warn() {
    let words = arguments(&["--work_dir=/w", "--slave_ping_timeout=20secs"]);
    let values = FlagTable::MASTER.parse(&words, &BTreeMap::new()).unwrap();
    assert_eq!(values.text("agent_ping_timeout"), Some("20secs"));
    assert_eq!(values.warnings(), ["--slave_ping_timeout is deprecated: use --agent_ping_timeout"]);
}

#[test]
fn help_needs_no_required_flag() {
    let values = FlagTable::MASTER.parse(&arguments(&["--help"]), &BTreeMap::new()).unwrap();
    assert!(values.boolean("help"));
}

#[test]
fn pages_name_every_flag() {
    for table in TABLES {
        let (help, markdown) = (help(&table), markdown(&table));
        for flag in table.flags() {
            assert!(help.contains(flag.name), "{} in help", flag.name);
            assert!(markdown.contains(flag.name), "{} in the documentation", flag.name);
        }
        assert!(help.lines().all(|line| line.len() <= 100), "{}", table.program);
    }
}

#[test]
fn documentation_pages_are_up_to_date() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/user/flags");
    for table in TABLES {
        let path = folder.join(format!("{}.md", table.program));
        if std::env::var_os("UPDATE_DOCS").is_some() {
            std::fs::create_dir_all(&folder).unwrap();
            std::fs::write(&path, markdown(&table)).unwrap();
        }
        let page = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            page == markdown(&table),
            "docs/user/flags/{}.md does not match the flag table: run `cargo xtask docs`",
            table.program
        );
    }
}

/// Every flag that a real Apache Mesos shows with its default is known here under that name.
#[test]
fn the_flags_of_mesos_are_known() {
    let golden = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden");
    for (table, file) in
        [(FlagTable::MASTER, "master/GET_flags.json"), (FlagTable::AGENT, "agent/GET_flags.json")]
    {
        let text = std::fs::read_to_string(golden.join(file)).unwrap();
        let page: serde_json::Value = serde_json::from_str(&text).unwrap();
        for name in page["flags"].as_object().unwrap().keys() {
            assert!(table.find(name).is_some(), "{} has no flag {name}", table.program);
        }
    }
}
