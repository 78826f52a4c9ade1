//! `cargo xtask test`: installs what the tests need and runs them all.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use crate::command::{cargo, command, exists, output, run, say};

/// How many seeds the simulator runs; a failing one is replayed with the command it prints.
const SIMULATOR_SEEDS: &str = "2000";

/// Runs every test. Further arguments go to `cargo test`, for instance a filter.
pub(crate) fn test(arguments: &[&str]) -> Result<()> {
    let python = pymesos()?;
    zookeeper()?;
    network_tools()?;
    run(cargo(&["build", "--release", "--package", "meseta", "--package", "swarm"]))?;
    let binary = target_folder()?.join("release/meseta");
    let mut all = vec!["test", "--workspace", "--no-fail-fast"];
    all.extend(arguments);
    let mut tests = cargo(&all);
    tests.env("MESETA_BINARY", &binary).env("MESETA_PYMESOS_PYTHON", &python);
    run(tests)?;
    if arguments.is_empty() {
        let seeds =
            ["run", "--release", "--package", "simulator", "--", "--seeds", SIMULATOR_SEEDS];
        run(cargo(&seeds))?;
    }
    Ok(())
}

/// Where cargo puts what it builds.
pub(crate) fn target_folder() -> Result<PathBuf> {
    let metadata = output(cargo(&["metadata", "--no-deps", "--format-version=1"]))?;
    let metadata: serde_json::Value = serde_json::from_str(&metadata)?;
    let folder = metadata["target_directory"].as_str().context("cargo names no target folder")?;
    Ok(folder.into())
}

/// A virtual environment with an unchanged pymesos 0.3.15; gives its interpreter.
///
/// Its dependency http-parser ships C code made for Python 3.10 or older: the C code is made again
/// from the Cython source.
pub(crate) fn pymesos() -> Result<PathBuf> {
    let folder = target_folder()?.join("clients/pymesos-0.3.15");
    let python = folder.join("bin/python");
    let done = folder.join("installed");
    if done.exists() && exists(&python.to_string_lossy(), &["-c", "import pymesos, kazoo"]) {
        return Ok(python);
    }
    say("installing pymesos 0.3.15 into a virtual environment");
    if folder.exists() {
        std::fs::remove_dir_all(&folder).context("removing an unfinished environment")?;
    }
    std::fs::create_dir_all(&folder).context("creating the environment's folder")?;
    virtual_environment(&folder)?;
    let pip = |arguments: &[&str]| {
        let mut all = vec!["-m", "pip", "--quiet", "--disable-pip-version-check"];
        all.extend(arguments);
        run(command(&python, &all))
    };
    pip(&["install", "cython<3", "wheel", "setuptools<81"])?;
    let sources = folder.join("sources");
    let sources = sources.to_string_lossy();
    let no_binary = ["--no-binary", ":all:", "--no-build-isolation"];
    let mut download = vec!["download", "--no-deps", "--dest", &sources, "http-parser==0.9.0"];
    download.extend(no_binary);
    pip(&download)?;
    let archive = format!("{sources}/http-parser-0.9.0.tar.gz");
    run(command("tar", &["--extract", "--gzip", "--file", &archive, "--directory", &sources]))?;
    let parser = format!("{sources}/http-parser-0.9.0");
    let source = format!("{parser}/http_parser/parser.pyx");
    run(command(folder.join("bin/cython"), &["-3", &source]))?;
    pip(&["install", "--no-build-isolation", &parser])?;
    pip(&["install", "pymesos==0.3.15"])?;
    std::fs::write(&done, "").context("marking the environment as complete")?;
    Ok(python)
}

fn virtual_environment(folder: &Path) -> Result<()> {
    let folder = folder.to_string_lossy().into_owned();
    let probe = "import venv, ensurepip, sysconfig, os; \
                 assert os.path.exists(sysconfig.get_path('include') + '/Python.h')";
    if !exists("python3", &["-c", probe]) || !exists("cc", &["--version"]) {
        install_python()?;
    }
    run(command("python3", &["-m", "venv", &folder]))
}

/// ZooKeeper's jars and a Java to run them. Tests that need them say so and are skipped without.
pub(crate) fn zookeeper() -> Result<()> {
    if Path::new("/usr/share/java/zookeeper.jar").exists() && exists("java", &["-version"]) {
        return Ok(());
    }
    if !can_install() {
        say("no ZooKeeper: its tests are skipped; on Debian, \
             `apt-get install zookeeper default-jre-headless`");
        return Ok(());
    }
    run(command("apt-get", &["update", "--quiet"]))?;
    let packages = [
        "install",
        "--quiet",
        "--yes",
        "--no-install-recommends",
        "zookeeper",
        "default-jre-headless",
    ];
    run(command("apt-get", &packages))
}

/// What cuts daemons off from each other. Tests that need it say so and leave it out without, or without root.
pub(crate) fn network_tools() -> Result<()> {
    if !can_install() || (exists("ip", &["-V"]) && exists("iptables", &["-V"])) {
        return Ok(());
    }
    run(command("apt-get", &["update", "--quiet"]))?;
    let packages = ["iproute2", "iptables"];
    let options = ["install", "--quiet", "--yes", "--no-install-recommends"];
    run(command("apt-get", &[&options[..], &packages[..]].concat()))
}

fn can_install() -> bool {
    output(command("id", &["-u"])).is_ok_and(|id| id.trim() == "0")
        && exists("apt-get", &["--version"])
}

fn install_python() -> Result<()> {
    if !can_install() {
        bail!(
            "the tests need python3 with venv, its headers and a C compiler: on Debian, \
             `apt-get install python3-venv python3-dev gcc`"
        );
    }
    run(command("apt-get", &["update", "--quiet"]))?;
    let packages = ["install", "--quiet", "--yes", "python3", "python3-venv", "python3-dev", "gcc"];
    run(command("apt-get", &packages))
}
