//! What a daemon learns from the machine it runs on.

use std::fs::File;
use std::io::{self, Read as _};
use std::net::{Ipv4Addr, ToSocketAddrs as _};
use std::process::Command;

use crate::flags::Values;

/// The version of Mesos whose behaviour is spoken; clients compare its numbers.
pub const MESOS_VERSION: &str = "1.12.0";

/// A seed from the operating system's randomness.
///
/// # Errors
/// The operating system has none.
pub fn random_seed() -> io::Result<u64> {
    let mut bytes = [0; 8];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(u64::from_le_bytes(bytes))
}

/// The address to listen on: `--ip`, what `--ip_discovery_command` prints, or what the machine's
/// own name resolves to.
///
/// # Errors
/// The command fails or prints no address; the name does not resolve.
pub fn listening_address(values: &Values) -> io::Result<Ipv4Addr> {
    if let Some(ip) = values.text("ip").and_then(|text| text.parse().ok()) {
        return Ok(ip);
    }
    let Some(command) = values.text("ip_discovery_command") else { return own_address() };
    let output = Command::new("/bin/sh").args(["-c", command]).output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    text.trim().parse().map_err(|_| {
        io::Error::other(format!("'{command}' printed '{}', which is no address", text.trim()))
    })
}

fn own_address() -> io::Result<Ipv4Addr> {
    let name = own_name()?;
    let addresses = (name.as_str(), 0).to_socket_addrs()?;
    let mut addresses = addresses.filter_map(|address| match address.ip() {
        std::net::IpAddr::V4(ip) => Some(ip),
        std::net::IpAddr::V6(_) => None,
    });
    addresses.next().ok_or_else(|| io::Error::other(format!("'{name}' has no IPv4 address")))
}

fn own_name() -> io::Result<String> {
    let name = nix::unistd::gethostname().map_err(io::Error::from)?;
    Ok(name.to_string_lossy().into_owned())
}

/// The name to publish: `--hostname`, the machine's name, or the address.
#[must_use]
pub fn published_hostname(values: &Values, ip: Ipv4Addr) -> String {
    if let Some(name) = values.text("hostname") {
        return name.to_owned();
    }
    if values.boolean("hostname_lookup")
        && let Ok(name) = own_name()
    {
        return name;
    }
    ip.to_string()
}
