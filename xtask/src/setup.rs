//! Installs what a fresh Debian machine lacks, and says so.
//!
//! QEMU comes from the release's backports where there are some: with QEMU 10 the figures of the benches
//! compare, and parts of it (`qemu-utils`) may be installed from there already, which 7.2 cannot join.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::command::{capture, find_program, run};

/// What is to be done, which says what it needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Need {
    /// Booting a domain 0.
    Run,
    /// All tests.
    Test,
}

/// (program or file that tells that it is there, package)
const TO_RUN: &[(&str, &str)] = &[
    ("busybox", "busybox-static"),
    ("depmod", "kmod"),
    ("xz", "xz-utils"),
    ("gzip", "gzip"),
    ("setpriv", "util-linux"),
    ("dpkg-deb", "dpkg"),
    ("cc", "gcc"),
];

const TO_TEST: &[(&str, &str)] = &[
    ("/usr/include/xen/xen.h", "libxen-dev"),
    ("/usr/include/stdio.h", "libc6-dev"),
    ("grub-file", "grub-common"),
    ("/usr/lib/grub/i386-pc/multiboot2.mod", "grub-pc-bin"),
    ("xorriso", "xorriso"),
    ("mformat", "mtools"),
    ("debootstrap", "debootstrap"),
    ("mke2fs", "e2fsprogs"),
    ("bzip2", "bzip2"),
    ("lzop", "lzop"),
    ("lz4", "lz4"),
    ("zstd", "zstd"),
];

/// Installs what `need` lacks: packages, and parts of the Rust toolchain.
pub(crate) fn setup(need: Need) -> Result<()> {
    toolchain()?;
    if find_program("apt-get").is_none() {
        bail!("this needs a Debian machine: there is no apt-get");
    }
    if find_program("qemu-system-x86_64").is_none() {
        install_qemu()?;
    }
    let wanted = match need {
        Need::Run => TO_RUN.to_vec(),
        Need::Test => [TO_RUN, TO_TEST].concat(),
    };
    let missing: BTreeSet<&str> = wanted
        .iter()
        .filter(|(probe, _)| !is_there(probe))
        .map(|&(_, package)| package)
        .collect();
    if !missing.is_empty() {
        let packages: Vec<&str> = missing.into_iter().collect();
        eprintln!("setup: installing {}", packages.join(", "));
        install(&packages, &[])?;
    }
    if need == Need::Test {
        backports_source()?;
    }
    Ok(())
}

fn is_there(probe: &str) -> bool {
    // The plain `busybox` package is dynamically linked: of no use in an initramfs.
    if probe == "busybox" {
        return package_version("busybox-static").is_some();
    }
    if probe.starts_with('/') {
        Path::new(probe).exists()
    } else {
        find_program(probe).is_some()
    }
}

/// The version of an installed package.
fn package_version(package: &str) -> Option<String> {
    capture(Command::new("dpkg-query").args(["-W", "-f=${db:Status-Status} ${Version}", package]))
        .ok()?
        .strip_prefix("installed ")
        .map(str::to_owned)
}

/// Adds what `rust-toolchain.toml` names and is not installed.
fn toolchain() -> Result<()> {
    if find_program("rustup").is_none() {
        // A toolchain from elsewhere may do; if it lacks a target, cargo says so.
        return Ok(());
    }
    let file = fs::read_to_string(crate::workspace::root().join("rust-toolchain.toml"))?;
    let listed = |key: &str| -> Vec<String> {
        file.lines()
            .filter(|line| line.trim_start().starts_with(key))
            .flat_map(|line| line.split('"').skip(1).step_by(2))
            .map(str::to_owned)
            .collect()
    };
    for (kind, key) in [("target", "targets"), ("component", "components")] {
        let installed = capture(Command::new("rustup").args([kind, "list", "--installed"]))?;
        let missing: Vec<String> = listed(key)
            .into_iter()
            .filter(|name| {
                !installed
                    .lines()
                    .any(|line| line.starts_with(name.as_str()))
            })
            .collect();
        if !missing.is_empty() {
            eprintln!("setup: adding the Rust {kind}s {}", missing.join(", "));
            run(Command::new("rustup").args([kind, "add"]).args(&missing))?;
        }
    }
    Ok(())
}

fn install_qemu() -> Result<()> {
    let suite = backports_source()?;
    eprintln!(
        "setup: installing qemu-system-x86{}",
        suite
            .as_ref()
            .map_or(String::new(), |suite| format!(" from {suite}"))
    );
    let options: Vec<&str> = suite
        .iter()
        .flat_map(|suite| ["-t", suite.as_str()])
        .collect();
    install(&["qemu-system-x86"], &options)
}

/// Installs packages; refreshes apt's lists first if they do not have one of them.
fn install(packages: &[&str], options: &[&str]) -> Result<()> {
    let known = packages.iter().all(|package| {
        capture(Command::new("apt-cache").args(["show", "--no-all-versions", package]))
            .is_ok_and(|shown| !shown.is_empty())
    });
    if !known {
        update()?;
    }
    let attempt = || {
        run(root_command("apt-get")
            .env("DEBIAN_FRONTEND", "noninteractive")
            .args(["install", "--yes", "--quiet", "--no-install-recommends"])
            .args(options)
            .args(packages))
    };
    // Old lists name versions that the mirror no longer has.
    attempt().or_else(|_| update().and_then(|()| attempt()))
}

/// Refreshes apt's lists.
pub(crate) fn update() -> Result<()> {
    eprintln!("setup: refreshing apt's package lists");
    run(root_command("apt-get").args(["update", "--quiet"]))
}

/// A command run as root.
pub(crate) fn root_command(program: &str) -> Command {
    let is_root = capture(Command::new("id").arg("-u")).is_ok_and(|user| user.trim() == "0");
    if is_root {
        Command::new(program)
    } else {
        let mut command = Command::new("sudo");
        command.arg(program);
        command
    }
}

/// The name of the release's backports, once apt has a source for them; `None` where the release is none
/// that this project knows to need them.
pub(crate) fn backports_source() -> Result<Option<String>> {
    let release = fs::read_to_string("/etc/os-release").context("cannot read /etc/os-release")?;
    let codename = release
        .lines()
        .find_map(|line| line.strip_prefix("VERSION_CODENAME="))
        .unwrap_or_default();
    if codename != "bookworm" {
        return Ok(None);
    }
    let suite = format!("{codename}-backports");
    let policy = capture(Command::new("apt-cache").arg("policy"))?;
    if policy.contains(&format!("n={suite}")) {
        return Ok(Some(suite));
    }
    let sources = configured_sources();
    if !sources.iter().any(|source| source.suites.contains(&suite)) {
        let main = sources
            .iter()
            .find(|source| source.suites.iter().any(|name| name == codename))
            .with_context(|| format!("apt has no source for {codename}, to take {suite} from"))?;
        let signed_by = main
            .signed_by
            .as_ref()
            .map_or(String::new(), |keys| format!("Signed-By: {keys}\n"));
        let text = format!(
            "Types: deb\nURIs: {}\nSuites: {suite}\nComponents: main\n{signed_by}",
            main.uri
        );
        let path = "/etc/apt/sources.list.d/xenolith-backports.sources";
        eprintln!("setup: adding {path}, from the configured source of {codename}");
        let temporary =
            std::env::temp_dir().join(format!("xenolith-sources-{}", std::process::id()));
        fs::write(&temporary, text)?;
        let installed = run(root_command("install")
            .args(["-m", "644"])
            .arg(&temporary)
            .arg(path));
        let _ = fs::remove_file(&temporary);
        installed?;
    }
    update()?;
    Ok(Some(suite))
}

/// One of apt's sources of binary packages.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Source {
    pub(crate) uri: String,
    pub(crate) suites: Vec<String>,
    pub(crate) signed_by: Option<String>,
}

/// All sources that apt is configured with.
pub(crate) fn configured_sources() -> Vec<Source> {
    let mut files = vec![Path::new("/etc/apt/sources.list").to_path_buf()];
    if let Ok(entries) = fs::read_dir("/etc/apt/sources.list.d") {
        files.extend(entries.flatten().map(|entry| entry.path()));
    }
    files.sort();
    files
        .iter()
        .filter_map(|path| {
            let text = fs::read_to_string(path).ok()?;
            match path.extension()?.to_str()? {
                "list" => Some(one_line_sources(&text)),
                "sources" => Some(deb822_sources(&text)),
                _ => None,
            }
        })
        .flatten()
        .collect()
}

/// Parses `deb [signed-by=…] URI suite component…` lines.
fn one_line_sources(text: &str) -> Vec<Source> {
    text.lines()
        .filter_map(|line| {
            let mut rest = line.trim().strip_prefix("deb ")?.trim_start();
            let mut signed_by = None;
            if let Some(options) = rest.strip_prefix('[') {
                let (options, after) = options.split_once(']')?;
                signed_by = options
                    .split_whitespace()
                    .find_map(|option| option.strip_prefix("signed-by="))
                    .map(str::to_owned);
                rest = after;
            }
            let mut words = rest.split_whitespace();
            Some(Source {
                uri: words.next()?.to_owned(),
                suites: vec![words.next()?.to_owned()],
                signed_by,
            })
        })
        .collect()
}

/// Parses stanzas of `Types:`, `URIs:`, `Suites:` …
fn deb822_sources(text: &str) -> Vec<Source> {
    text.split("\n\n")
        .filter_map(|stanza| {
            let field = |name: &str| {
                stanza
                    .lines()
                    .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
                    .map(str::trim)
            };
            if field("Enabled") == Some("no") {
                return None;
            }
            field("Types")?
                .split_whitespace()
                .find(|&kind| kind == "deb")?;
            Some(Source {
                uri: field("URIs")?.split_whitespace().next()?.to_owned(),
                suites: field("Suites")?
                    .split_whitespace()
                    .map(str::to_owned)
                    .collect(),
                signed_by: field("Signed-By")
                    .filter(|keys| keys.starts_with('/'))
                    .map(str::to_owned),
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{Source, deb822_sources, one_line_sources};

    #[test]
    fn reads_both_formats() {
        let source = |suites: &[&str]| Source {
            uri: "http://mirror.example/debian".into(),
            suites: suites.iter().map(|&suite| suite.to_owned()).collect(),
            signed_by: Some("/usr/share/keyrings/k.gpg".into()),
        };
        assert_eq!(
            one_line_sources(
                "# deb http://no.example/ x main\n\
                 deb [arch=amd64 signed-by=/usr/share/keyrings/k.gpg] http://mirror.example/debian bookworm main\n\
                 deb-src http://mirror.example/debian bookworm main\n"
            ),
            [source(&["bookworm"])]
        );
        assert_eq!(
            deb822_sources(
                "Types: deb\n# a comment\nURIs: http://mirror.example/debian\n\
                 Suites: bookworm bookworm-updates\nComponents: main\nSigned-By: /usr/share/keyrings/k.gpg\n\n\
                 Types: deb-src\nURIs: http://mirror.example/debian\nSuites: bookworm\n\n\
                 Enabled: no\nTypes: deb\nURIs: http://off.example/\nSuites: bookworm\n"
            ),
            [source(&["bookworm", "bookworm-updates"])]
        );
    }
}
