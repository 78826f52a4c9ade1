//! Several masters that elect their leader in a real ZooKeeper ensemble, and agents that find it there.

use std::path::{Path, PathBuf};
use std::time::Duration;

use ensemble::Ensemble;
use nix::sys::signal::{Signal, kill};
use serde_json::Value;
use tempfile::TempDir;

use crate::cluster::print_last_lines;
use crate::process::processes_of;
use crate::{Daemon, Place, exchange, try_get_json, wait_until};

/// How long things may take on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// How long a running daemon may take to answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(3);

/// What differs between the clusters of tests.
#[derive(Clone, Debug)]
pub struct EnsembleClusterOptions {
    /// How many ZooKeeper servers.
    pub servers: usize,
    /// How many masters.
    pub masters: usize,
    /// How many agents.
    pub agents: usize,
    /// `user:password` at the ensemble, for masters and agents.
    pub credentials: Option<String>,
    /// How long a leader may be cut off before another one is elected.
    pub session_timeout: Duration,
    /// The resources of each agent.
    pub resources: String,
    /// More flags for each master.
    pub master_flags: Vec<String>,
    /// More flags for each agent.
    pub agent_flags: Vec<String>,
}

impl Default for EnsembleClusterOptions {
    fn default() -> Self {
        Self {
            servers: 1,
            masters: 3,
            agents: 0,
            credentials: None,
            session_timeout: Duration::from_secs(2),
            resources: "cpus:4;mem:2048;disk:4096;ports:[31000-32000]".to_owned(),
            master_flags: Vec::new(),
            agent_flags: Vec::new(),
        }
    }
}

/// Where the masters of these tests contend.
pub const ENSEMBLE_PATH: &str = "/mesos";

/// A running cluster in a temporary folder. Everything ends with it.
#[derive(Debug)]
pub struct EnsembleCluster {
    /// The masters, in the order in which they were started.
    pub masters: Vec<Daemon>,
    /// The agents.
    pub agents: Vec<Daemon>,
    /// The ZooKeeper servers.
    pub ensemble: Ensemble,
    url: String,
    options: EnsembleClusterOptions,
    folder: TempDir,
}

impl EnsembleCluster {
    /// Starts everything and waits until a master leads, if there are masters, and all agents are registered. `None`, and a line
    /// that says so, where ZooKeeper is not installed.
    ///
    /// # Panics
    /// When something does not come up.
    #[must_use]
    pub fn start(options: EnsembleClusterOptions) -> Option<Self> {
        let ensemble = Ensemble::start_or_skip(options.servers)?;
        let mut cluster = Self::on(ensemble, options);
        for _ in 0..cluster.options.masters {
            cluster.add_master(Place::on_loopback());
        }
        if cluster.options.masters > 0 {
            cluster.wait_for_leader();
        }
        for _ in 0..cluster.options.agents {
            cluster.add_agent(Place::on_loopback());
        }
        if cluster.options.agents > 0 {
            cluster.wait_for_agents();
        }
        Some(cluster)
    }

    /// A cluster without any daemon so far.
    #[must_use]
    pub fn on(ensemble: Ensemble, options: EnsembleClusterOptions) -> Self {
        let folder = tempfile::Builder::new().prefix("meseta-test-").tempdir().expect("a folder");
        let url = match &options.credentials {
            Some(credentials) => ensemble.url_as(credentials, ENSEMBLE_PATH),
            None => ensemble.url(ENSEMBLE_PATH),
        };
        Self { masters: Vec::new(), agents: Vec::new(), ensemble, url, options, folder }
    }

    /// Gives masters and agents that are started from now on another `zk://` URL.
    pub fn set_url(&mut self, url: String) {
        self.url = url;
    }

    /// Starts one more master, and does not wait for it.
    pub fn add_master(&mut self, place: Place) {
        let url = self.url.clone();
        self.add_master_with(&url, place, &[]);
    }

    /// As [`EnsembleCluster::add_master`], with a `--zk` of its own.
    pub fn add_master_at(&mut self, url: &str, place: Place) {
        self.add_master_with(url, place, &[]);
    }

    /// As [`EnsembleCluster::add_master_at`], with more flags.
    pub fn add_master_with(&mut self, url: &str, place: Place, more: &[&str]) {
        let name = format!("master-{}", self.masters.len());
        let mut flags = vec![
            format!("--zk={url}"),
            format!("--zk_session_timeout={}ms", self.options.session_timeout.as_millis()),
        ];
        flags.extend(self.options.master_flags.iter().cloned());
        flags.extend(more.iter().map(|flag| (*flag).to_owned()));
        let master = Daemon::start("master", &name, place, self.folder.path(), flags);
        self.masters.push(master);
    }

    /// Starts one more agent, and does not wait for it.
    pub fn add_agent(&mut self, place: Place) {
        let name = format!("agent-{}", self.agents.len());
        let mut flags = vec![
            format!("--master={}", self.url),
            format!("--zk_session_timeout={}ms", self.options.session_timeout.as_millis()),
            format!("--runtime_dir={}", self.folder.path().join("run").display()),
            format!("--resources={}", self.options.resources),
            "--registration_backoff_factor=10ms".to_owned(),
        ];
        flags.extend(self.options.agent_flags.iter().cloned());
        self.agents.push(Daemon::start("agent", &name, place, self.folder.path(), flags));
    }

    /// The temporary folder of the cluster.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The `--work_dir` of an agent.
    #[must_use]
    pub fn agent_work_dir(&self, agent: usize) -> PathBuf {
        self.folder.path().join(&self.agents[agent].name)
    }

    /// The `zk://` URL of masters and agents.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The master that leads at this moment, as the masters themselves say.
    pub fn leader(&mut self) -> Option<usize> {
        self.masters.iter_mut().position(|master| master.is_active() && is_elected(master))
    }

    /// Waits until a master leads.
    ///
    /// # Panics
    /// When none does in time; the message holds what the masters logged.
    pub fn wait_for_leader(&mut self) -> usize {
        self.wait_for_leader_other_than(None)
    }

    /// Waits until another master leads.
    ///
    /// # Panics
    /// As [`EnsembleCluster::wait_for_leader`].
    pub fn wait_for_leader_other_than(&mut self, old: Option<usize>) -> usize {
        wait_until("a master to lead", PATIENCE, || self.leader().filter(|it| Some(*it) != old))
    }

    /// The leading master's `/state`.
    #[must_use]
    pub fn state(&mut self) -> Value {
        wait_until("the state of the leader", PATIENCE, || {
            let leader = self.leader()?;
            try_get_json(&self.masters[leader].url("/state"))
        })
    }

    /// Waits until every running agent is registered with the leader and active.
    pub fn wait_for_agents(&mut self) {
        let addresses: Vec<String> = self
            .agents
            .iter_mut()
            .filter_map(|agent| agent.is_active().then(|| agent.address.clone()))
            .collect();
        wait_until("the agents to register", PATIENCE, || {
            let state = self.state();
            let active: Vec<&str> = state["slaves"]
                .as_array()?
                .iter()
                .filter(|agent| agent["active"] == true)
                .filter_map(|agent| agent["pid"].as_str()?.rsplit_once('@').map(|(_, it)| it))
                .collect();
            addresses.iter().all(|address| active.contains(&address.as_str())).then_some(())
        });
    }

    /// Waits until agents with exactly these ids, in order, are registered with the leader.
    pub fn wait_for_agents_with_ids(&mut self, ids: &[String]) {
        wait_until("the agents to reregister", PATIENCE, || {
            let state = self.state();
            let agents = state["slaves"].as_array()?.iter();
            let mut found: Vec<&str> = agents.filter_map(|it| it["id"].as_str()).collect();
            found.sort_unstable();
            (found == ids).then_some(())
        });
    }

    /// Every time of leading that the masters logged, the earliest epoch first.
    #[must_use]
    pub fn terms(&self) -> Vec<Term> {
        let mut terms: Vec<Term> = self
            .masters
            .iter()
            .enumerate()
            .flat_map(|(number, master)| terms_of(number, &master.log()))
            .collect();
        terms.sort_by_key(|term| term.epoch);
        terms
    }

    /// The epoch that has claimed the registry, as the ensemble has it; `None` while it cannot be asked or
    /// there is none.
    #[must_use]
    pub fn registry_epoch(&self) -> Option<i64> {
        let mut client = self.ensemble.client().ok()?;
        let head = client.get(&format!("{ENSEMBLE_PATH}/registry/head")).ok()?;
        serde_json::from_slice::<Value>(&head).ok()?["epoch"].as_i64()
    }

    /// Ends all daemons and every process that still works in one of their sandboxes.
    pub fn end_processes(&mut self) {
        for daemon in self.masters.iter_mut().chain(&mut self.agents) {
            daemon.kill();
        }
        // A process may fork between the look and the kill, hence again until there is none.
        while let remaining @ [_, ..] = processes_of(self.folder.path()).as_slice() {
            for pid in remaining {
                let _ = kill(*pid, Signal::SIGKILL);
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// What all daemons printed, for the message of a failed test.
    #[must_use]
    pub fn logs(&self) -> String {
        self.masters.iter().chain(&self.agents).map(|daemon| daemon.process.logs()).collect()
    }
}

/// Whether a master says that it leads.
#[must_use]
pub fn is_elected(master: &Daemon) -> bool {
    let answer = exchange("GET", &master.url("/metrics/snapshot"), "", ANSWER_LIMIT);
    let metrics = answer.and_then(|answer| serde_json::from_str::<Value>(&answer.body).ok());
    metrics.is_some_and(|metrics| metrics["master/elected"] == 1.0)
}

/// A time of leading, from a master's log. Times are seconds since 1970.
#[derive(Clone, Debug, PartialEq)]
pub struct Term {
    /// Which master.
    pub master: usize,
    /// The number that orders terms.
    pub epoch: i64,
    /// When it began.
    pub began: f64,
    /// When the master said that it leads no more; one that was killed says nothing.
    pub ended: Option<f64>,
}

fn terms_of(master: usize, log: &str) -> Vec<Term> {
    let with_text = |text: &'static str| log.lines().filter(move |line| line.contains(text));
    let ends: Vec<(i64, f64)> =
        with_text("the master leads no more").filter_map(epoch_and_time).collect();
    let begins = with_text("the master leads address=").filter_map(epoch_and_time);
    begins
        .map(|(epoch, began)| {
            let ended = ends.iter().find(|(other, _)| *other == epoch).map(|(_, at)| *at);
            Term { master, epoch, began, ended }
        })
        .collect()
}

fn epoch_and_time(line: &str) -> Option<(i64, f64)> {
    let (_, rest) = line.split_once("epoch=")?;
    let digits = rest.split(|c: char| !c.is_ascii_digit()).next()?;
    Some((digits.parse().ok()?, seconds_since_1970(line.split_whitespace().next()?)?))
}

/// The time at the beginning of a line of a log: UTC in RFC 3339.
fn seconds_since_1970(text: &str) -> Option<f64> {
    let (date, time) = text.strip_suffix('Z')?.split_once('T')?;
    let mut date = date.split('-').map(str::parse::<i32>);
    let (year, month, day) = (date.next()?.ok()?, date.next()?.ok()?, date.next()?.ok()?);
    // Days from the first of March of the year 0, which puts leap days at the ends of years.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = 365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 1;
    let days_of_1970 = 719_468;
    let mut time = time.split(':').map(str::parse::<f64>);
    let (hour, minute, second) = (time.next()?.ok()?, time.next()?.ok()?, time.next()?.ok()?);
    Some(f64::from(days - days_of_1970) * 86_400.0 + hour * 3600.0 + minute * 60.0 + second)
}

impl Drop for EnsembleCluster {
    fn drop(&mut self) {
        if std::thread::panicking() {
            print_last_lines(&self.logs());
        }
        self.end_processes();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terms_are_read_from_a_log() {
        let log = "\
2026-11-30T00:41:44.193363Z  INFO the master leads address=127.0.0.1:1 epoch=7
2026-11-30T00:41:45.500000Z  WARN the master leads no more epoch=7 reason=\"epoch=9\"
2026-11-30T00:41:46.193363Z  INFO elected: reading the registry epoch=8
2026-11-30T00:41:47.000000Z  INFO the master leads address=127.0.0.1:1 epoch=8
";
        let terms = terms_of(2, log);
        assert_eq!(terms.len(), 2);
        assert_eq!((terms[0].epoch, terms[1].epoch), (7, 8));
        let length = terms[0].ended.expect("it has ended") - terms[0].began;
        assert!((length - 1.306_637).abs() < 1e-5, "{length}");
        assert_eq!((terms[1].ended, terms[1].began), (None, 1_795_999_307.0));
    }
}
