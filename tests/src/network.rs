//! Network namespaces that daemons are put into, so that each can be cut off from others.
//!
//! Each namespace has one address on a bridge of this machine, which has the first address itself. Packets are
//! dropped inside the namespace, by rules of iptables. All of it needs root, and ends with the [`Network`].

use std::net::Ipv4Addr;
use std::process::{Command, Output, Stdio};

/// The most namespaces of one network; each has one of the addresses after the bridge's.
const NAMESPACES_MAX: usize = 100;

/// Begins the names of everything that this module makes. The id of the test's process follows.
const PREFIX: &str = "mst";

/// Which packets of a namespace are dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Those that it sends.
    Out,
    /// Those that it receives.
    In,
    /// All.
    Both,
}

/// With whom a namespace cannot speak any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Peer {
    /// All at an address.
    Address(Ipv4Addr),
    /// Servers at some ports of an address.
    Ports(Ipv4Addr, Vec<u16>),
}

/// A bridge and the namespaces on it, numbered from 0.
#[derive(Debug)]
pub struct Network {
    id: String,
    subnet: [u8; 3],
    size: usize,
}

impl Network {
    /// Makes `size` namespaces. `None`, and a line that says so, without root or the programs for it.
    ///
    /// # Panics
    /// When a namespace cannot be made although everything is there.
    #[must_use]
    #[expect(clippy::print_stderr, reason = "what is not tested must be seen")]
    pub fn create_or_skip(size: usize) -> Option<Self> {
        assert!(size <= NAMESPACES_MAX, "{size} namespaces");
        if let Some(reason) = missing() {
            eprintln!("LEFT OUT, not tested: cuts of the network, {reason}");
            return None;
        }
        remove_leftovers();
        let process = std::process::id();
        let network = Self { id: format!("{PREFIX}{process}"), subnet: free_subnet(process), size };
        network.make_bridge();
        for number in 0..size {
            network.make_namespace(number);
        }
        Some(network)
    }

    /// The address of the bridge: of this process, as namespaces see it.
    #[must_use]
    pub fn own_address(&self) -> Ipv4Addr {
        self.host(1)
    }

    /// The address of a namespace.
    #[must_use]
    pub fn address(&self, number: usize) -> Ipv4Addr {
        self.host(10 + number)
    }

    /// What runs a program in a namespace: to be put before it.
    #[must_use]
    pub fn launcher(&self, number: usize) -> Vec<String> {
        ["ip", "netns", "exec", &self.namespace(number)].map(str::to_owned).to_vec()
    }

    /// Drops the packets between a namespace and its peers, from now on.
    pub fn cut(&self, number: usize, peers: &[Peer], direction: Direction) {
        for peer in peers {
            if direction != Direction::In {
                self.drop_packets(number, &["OUTPUT"], &matches(peer, "d"));
            }
            if direction != Direction::Out {
                self.drop_packets(number, &["INPUT"], &matches(peer, "s"));
            }
        }
    }

    /// Drops packets of a namespace by chance, in both directions. `probability` is that of each packet.
    pub fn lose(&self, number: usize, probability: f64) {
        let probability = probability.to_string();
        let chance = ["-m", "statistic", "--mode", "random", "--probability", &probability];
        self.drop_packets(number, &["INPUT", "OUTPUT"], &chance.map(str::to_owned));
    }

    /// Lets all packets of a namespace through again.
    pub fn heal(&self, number: usize) {
        self.run_inside(number, &["iptables", "-w", "-F"].map(str::to_owned));
    }

    fn drop_packets(&self, number: usize, chains: &[&str], matches: &[String]) {
        for chain in chains {
            let mut rule = ["iptables", "-w", "-A", chain].map(str::to_owned).to_vec();
            rule.extend_from_slice(matches);
            rule.extend(["-j", "DROP"].map(str::to_owned));
            self.run_inside(number, &rule);
        }
    }

    fn run_inside(&self, number: usize, arguments: &[String]) {
        let mut all = self.launcher(number);
        all.extend_from_slice(arguments);
        let all: Vec<&str> = all.iter().map(String::as_str).collect();
        must(&all);
    }

    fn host(&self, number: usize) -> Ipv4Addr {
        let [a, b, c] = self.subnet;
        Ipv4Addr::new(a, b, c, u8::try_from(number).expect("addresses are few"))
    }

    fn bridge(&self) -> String {
        format!("{}b", self.id)
    }

    fn namespace(&self, number: usize) -> String {
        format!("{}-{number}", self.id)
    }

    fn make_bridge(&self) {
        let (bridge, address) = (self.bridge(), format!("{}/24", self.own_address()));
        must(&["ip", "link", "add", &bridge, "type", "bridge"]);
        must(&["ip", "address", "add", &address, "dev", &bridge]);
        must(&["ip", "link", "set", &bridge, "up"]);
        // Where something else on this machine drops what is forwarded, as Docker does.
        must(&["iptables", "-w", "-I", "FORWARD", "-i", &bridge, "-j", "ACCEPT"]);
    }

    fn make_namespace(&self, number: usize) {
        let (namespace, bridge) = (self.namespace(number), self.bridge());
        let outside = format!("{}v{number}", self.id);
        let address = format!("{}/24", self.address(number));
        must(&["ip", "netns", "add", &namespace]);
        let inside = ["peer", "name", "eth0", "netns", &namespace];
        let link = ["ip", "link", "add", &outside, "type", "veth"];
        must(&[&link[..], &inside[..]].concat());
        must(&["ip", "link", "set", &outside, "master", &bridge, "up"]);
        let inside = ["ip", "-netns", &namespace];
        must(&[&inside[..], &["address", "add", &address, "dev", "eth0"]].concat());
        must(&[&inside[..], &["link", "set", "eth0", "up"]].concat());
        must(&[&inside[..], &["link", "set", "lo", "up"]].concat());
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        for number in 0..self.size {
            // A link goes with its end inside, but not while a process of a test holds the namespace.
            run(&["ip", "link", "delete", &format!("{}v{number}", self.id)]);
            run(&["ip", "netns", "delete", &self.namespace(number)]);
        }
        remove_bridge(&self.bridge());
    }
}

fn remove_bridge(bridge: &str) {
    run(&["iptables", "-w", "-D", "FORWARD", "-i", bridge, "-j", "ACCEPT"]);
    run(&["ip", "link", "delete", bridge]);
}

/// What a rule for the packets of a peer says; `side` is `d` for what is sent to it, `s` for what comes from it.
fn matches(peer: &Peer, side: &str) -> Vec<String> {
    match peer {
        Peer::Address(address) => vec![format!("-{side}"), address.to_string()],
        Peer::Ports(address, ports) => {
            let ports: Vec<String> = ports.iter().map(u16::to_string).collect();
            let mut words = vec![format!("-{side}"), address.to_string()];
            words.extend(["-p", "tcp", "-m", "multiport"].map(str::to_owned));
            words.extend([format!("--{side}ports"), ports.join(",")]);
            words
        }
    }
}

/// What is missing for namespaces.
fn missing() -> Option<&'static str> {
    if !nix::unistd::Uid::effective().is_root() {
        return Some("which need root");
    }
    for (program, reason) in [
        ("ip", "which need `ip`: on Debian, `apt-get install iproute2`"),
        ("iptables", "which need `iptables`: on Debian, `apt-get install iptables`"),
    ] {
        if !run(&[program, "-V"]).is_some_and(|output| output.status.success()) {
            return Some(reason);
        }
    }
    let probe = format!("{PREFIX}{}-probe", std::process::id());
    let added = run(&["ip", "netns", "add", &probe]).is_some_and(|it| it.status.success());
    run(&["ip", "netns", "delete", &probe]);
    (!added).then_some("which need a kernel that lets this user make network namespaces")
}

/// Removes what a test left that was killed with SIGKILL.
fn remove_leftovers() {
    let listing = |arguments: &[&str]| {
        let output = run(arguments).map(|output| output.stdout).unwrap_or_default();
        String::from_utf8_lossy(&output).into_owned()
    };
    let is_left = |name: &str| {
        let rest = name.strip_prefix(PREFIX).unwrap_or_default();
        let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
        !digits.is_empty() && !std::path::Path::new(&format!("/proc/{digits}")).exists()
    };
    for line in listing(&["ip", "-oneline", "link", "show"]).lines() {
        let name = line.split(": ").nth(1).and_then(|it| it.split('@').next()).unwrap_or_default();
        if is_left(name) {
            remove_bridge(name);
        }
    }
    for line in listing(&["ip", "netns", "list"]).lines() {
        let name = line.split_whitespace().next().unwrap_or_default();
        if is_left(name) {
            run(&["ip", "netns", "delete", name]);
        }
    }
}

/// The first three numbers of a private network that no interface here has.
fn free_subnet(process: u32) -> [u8; 3] {
    let output =
        run(&["ip", "-oneline", "address", "show"]).map(|it| it.stdout).unwrap_or_default();
    let taken = String::from_utf8_lossy(&output).into_owned();
    let candidates = (0..u8::MAX).map(|number| {
        let [.., low] = process.to_be_bytes();
        [10, 213, low.wrapping_add(number)]
    });
    let is_free = |[a, b, c]: &[u8; 3]| !taken.contains(&format!("inet {a}.{b}.{c}."));
    { candidates }.find(is_free).expect("a private network is free")
}

fn run(words: &[&str]) -> Option<Output> {
    let (program, arguments) = words.split_first()?;
    Command::new(program).args(arguments).stdin(Stdio::null()).output().ok()
}

fn must(words: &[&str]) {
    let output = run(words).unwrap_or_else(|| panic!("cannot run {words:?}"));
    let reason = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{words:?}: {reason}");
}
