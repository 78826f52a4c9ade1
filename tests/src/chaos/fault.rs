//! The faults, each with its end.

use std::time::Duration;

use ensemble::Ensemble;
use nix::sys::signal::Signal;

use super::world::{AGENTS, World};
use crate::network::{Direction, Peer};

/// Longer than a session: whoever is cut off for so long leads no more.
const LONG: Duration = Duration::from_millis(3500);
/// Shorter than a session, or of no consequence for it.
const SHORT: Duration = Duration::from_millis(1200);

/// How much each side waits for each other with a slow ensemble.
const DELAY: Duration = Duration::from_millis(150);
/// The share of packets that are lost.
const LOSS: f64 = 0.15;

/// Which servers a fault of the ensemble concerns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Servers {
    One,
    Majority,
    All,
}

/// Something that goes wrong, and is mended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    KillLeader,
    PauseLeader,
    StopLeader,
    KillServers(Servers),
    PauseServers(Servers),
    CutLeaderFromEnsemble(Direction),
    CutLeaderFromAgents(Direction),
    KillAgent,
    KillAgents,
    RestartFramework(usize),
    FillDisk,
    SlowEnsemble,
    LosePackets,
}

impl Fault {
    /// All kinds, in the order of the table.
    pub(super) const ALL: &'static [Self] = &[
        Self::KillLeader,
        Self::PauseLeader,
        Self::StopLeader,
        Self::KillServers(Servers::One),
        Self::KillServers(Servers::Majority),
        Self::KillServers(Servers::All),
        Self::PauseServers(Servers::One),
        Self::PauseServers(Servers::Majority),
        Self::PauseServers(Servers::All),
        Self::CutLeaderFromEnsemble(Direction::Both),
        Self::CutLeaderFromEnsemble(Direction::In),
        Self::CutLeaderFromEnsemble(Direction::Out),
        Self::CutLeaderFromAgents(Direction::Both),
        Self::CutLeaderFromAgents(Direction::In),
        Self::CutLeaderFromAgents(Direction::Out),
        Self::KillAgent,
        Self::KillAgents,
        Self::RestartFramework(0),
        Self::RestartFramework(1),
        Self::FillDisk,
        Self::SlowEnsemble,
        Self::LosePackets,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::KillLeader => "leader killed",
            Self::PauseLeader => "leader paused for longer than its session",
            Self::StopLeader => "leader asked to stop",
            Self::KillServers(Servers::One) => "one ZooKeeper server killed",
            Self::KillServers(Servers::Majority) => "two ZooKeeper servers killed",
            Self::KillServers(Servers::All) => "all ZooKeeper servers killed",
            Self::PauseServers(Servers::One) => "one ZooKeeper server paused",
            Self::PauseServers(Servers::Majority) => "two ZooKeeper servers paused",
            Self::PauseServers(Servers::All) => "all ZooKeeper servers paused",
            Self::CutLeaderFromEnsemble(Direction::Both) => "leader cut off from ZooKeeper",
            Self::CutLeaderFromEnsemble(Direction::In) => "leader does not hear ZooKeeper",
            Self::CutLeaderFromEnsemble(Direction::Out) => "leader is not heard by ZooKeeper",
            Self::CutLeaderFromAgents(Direction::Both) => "leader cut off from the agents",
            Self::CutLeaderFromAgents(Direction::In) => "leader does not hear the agents",
            Self::CutLeaderFromAgents(Direction::Out) => "leader is not heard by the agents",
            Self::KillAgent => "an agent killed",
            Self::KillAgents => "three of five agents killed",
            Self::RestartFramework(0) => "framework on the SDK restarted",
            Self::RestartFramework(_) => "framework on pymesos killed and restarted",
            Self::FillDisk => "disk of an agent full",
            Self::SlowEnsemble => "ZooKeeper answers 0.3 s later",
            Self::LosePackets => "leader loses 15 % of its packets",
        }
    }

    /// Whether it can be tried here.
    pub(super) fn is_possible(self, world: &World) -> bool {
        match self {
            Self::CutLeaderFromEnsemble(_) | Self::CutLeaderFromAgents(_) | Self::LosePackets => {
                world.network.is_some()
            }
            Self::FillDisk => world.disk.is_some(),
            Self::RestartFramework(number) => number < world.frameworks.len(),
            Self::KillLeader
            | Self::PauseLeader
            | Self::StopLeader
            | Self::KillServers(_)
            | Self::PauseServers(_)
            | Self::KillAgent
            | Self::KillAgents
            | Self::SlowEnsemble => true,
        }
    }

    /// Does it, and mends it.
    pub(super) fn happen(self, world: &mut World) {
        match self {
            Self::KillLeader => {
                let leader = world.cluster.wait_for_leader();
                world.ends_now(leader);
                world.cluster.masters[leader].kill();
            }
            Self::PauseLeader => {
                let leader = world.cluster.wait_for_leader();
                world.ends_now(leader);
                world.cluster.masters[leader].pause();
                world.pass(LONG);
                world.cluster.masters[leader].resume();
            }
            Self::StopLeader => {
                let leader = world.cluster.wait_for_leader();
                world.ends_now(leader);
                world.cluster.masters[leader].process.signal(Signal::SIGTERM);
                world.pass(SHORT);
            }
            Self::KillServers(servers) => kill_servers(world, servers),
            Self::PauseServers(servers) => pause_servers(world, servers),
            Self::CutLeaderFromEnsemble(direction) => {
                let peers = world.ensemble_peers();
                cut_leader(world, &peers, direction);
            }
            Self::CutLeaderFromAgents(direction) => {
                let peers = world.agent_peers();
                cut_leader(world, &peers, direction);
            }
            Self::KillAgent => {
                let agent = world.random.usize(..AGENTS);
                kill_agents(world, &[agent]);
            }
            Self::KillAgents => {
                let mut agents: Vec<usize> = (0..AGENTS).collect();
                world.random.shuffle(&mut agents);
                kill_agents(world, &agents[..3]);
            }
            Self::RestartFramework(number) => {
                world.frameworks[number].end();
                world.pass(SHORT);
            }
            Self::FillDisk => {
                if let Some(disk) = &world.disk {
                    disk.fill();
                }
                world.pass(LONG);
                if let Some(disk) = &world.disk {
                    disk.clear();
                }
            }
            Self::SlowEnsemble => {
                world.relays.iter().for_each(|relay| relay.delay(DELAY));
                world.pass(LONG);
                world.relays.iter().for_each(|relay| relay.delay(Duration::ZERO));
            }
            Self::LosePackets => {
                let leader = world.cluster.wait_for_leader();
                let Some(network) = &world.network else { return };
                network.lose(leader, LOSS);
                world.pass(LONG);
                heal(world, leader);
            }
        }
    }
}

fn choose(world: &mut World, servers: Servers) -> Vec<usize> {
    let mut all: Vec<usize> = (0..world.cluster.ensemble.size()).collect();
    world.random.shuffle(&mut all);
    let count = match servers {
        Servers::One => 1,
        Servers::Majority => all.len() / 2 + 1,
        Servers::All => all.len(),
    };
    all.truncate(count);
    all
}

/// One is missed for a moment, more for longer than sessions last.
const fn absence(servers: Servers) -> Duration {
    match servers {
        Servers::One => SHORT,
        Servers::Majority | Servers::All => LONG,
    }
}

fn kill_servers(world: &mut World, servers: Servers) {
    lose_servers(world, servers, Ensemble::kill, Ensemble::restart);
}

fn pause_servers(world: &mut World, servers: Servers) {
    lose_servers(world, servers, |it, server| it.pause(server), |it, server| it.resume(server));
}

/// Has some servers of the ensemble go, by `leave`, and return after a while, by `come_back`.
fn lose_servers(
    world: &mut World,
    servers: Servers,
    leave: fn(&mut Ensemble, usize),
    come_back: fn(&mut Ensemble, usize),
) {
    let chosen = choose(world, servers);
    for server in &chosen {
        leave(&mut world.cluster.ensemble, *server);
    }
    world.pass(absence(servers));
    for server in chosen {
        come_back(&mut world.cluster.ensemble, server);
    }
    world.ensemble_returns();
}

fn cut_leader(world: &mut World, peers: &[Peer], direction: Direction) {
    let leader = world.cluster.wait_for_leader();
    let Some(network) = &world.network else { return };
    network.cut(leader, peers, direction);
    world.pass(LONG);
    heal(world, leader);
}

fn heal(world: &World, master: usize) {
    if let Some(network) = &world.network {
        network.heal(master);
    }
}

fn kill_agents(world: &mut World, agents: &[usize]) {
    for agent in agents {
        world.hold_agent(*agent);
    }
    world.pass(SHORT);
    world.release_agents();
}
