//! `cargo xtask check`: what can be said of the source without running it.

mod documents;
mod layers;
mod registers;
mod sizes;
mod unsafe_ring;

use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::Args;

use crate::command::{capture, cargo, run_quietly};
use crate::image;
use crate::setup::{Need, setup};
use crate::workspace;

/// The options of `cargo xtask check`.
#[derive(Args, Clone, Debug)]
pub(crate) struct Options {
    /// Only these checks
    only: Vec<String>,
}

/// A name, and what it does: problems are its error.
type Check = (&'static str, fn() -> Result<()>);

const CHECKS: &[Check] = &[
    ("format", || {
        run_quietly(cargo().args(["fmt", "--all", "--check"]))
    }),
    ("layers", layers::check),
    ("unsafe-ring", unsafe_ring::check),
    ("sizes", sizes::check),
    ("documents", documents::check),
    ("clippy-host", || {
        run_quietly(cargo().args([
            "clippy",
            "--quiet",
            "--keep-going",
            "--all-targets",
            "--",
            "--deny",
            "warnings",
        ]))
    }),
    ("clippy-image", clippy_image),
    ("abi-layout", || {
        run_quietly(cargo().args(["test", "--quiet", "--package", "abi_layout"]))
    }),
    ("registers", registers::check),
];

/// Runs the checks; gives the exit status.
pub(crate) fn command(options: &Options) -> Result<i32> {
    setup(Need::Test)?;
    let mut failed = 0;
    for (name, check) in CHECKS {
        if !options.only.is_empty() && !options.only.iter().any(|only| only == name) {
            continue;
        }
        match check() {
            Ok(()) => println!("ok    {name}"),
            Err(error) => {
                failed += 1;
                println!("FAIL  {name}: {error:#}\n      run it alone: cargo xtask check {name}");
            }
        }
    }
    Ok(i32::from(failed > 0))
}

/// Clippy on what is built for the bare machine.
fn clippy_image() -> Result<()> {
    let mut command = cargo();
    command.args([
        "clippy",
        "--quiet",
        "--keep-going",
        "--target",
        "x86_64-unknown-none",
    ]);
    for package in members()? {
        if ["platform/", "hypervisor/", "image/", "guests/"]
            .iter()
            .any(|part| package.directory.starts_with(part))
        {
            command.args(["--package", &package.name]);
        }
    }
    run_quietly(command.args(["--", "--deny", "warnings"]))
}

/// A crate of the workspace.
struct Member {
    name: String,
    /// From the root, with a slash at its end.
    directory: String,
    /// The root files of its targets.
    roots: Vec<PathBuf>,
    /// Directories of the workspace's crates that it depends on.
    dependencies: Vec<String>,
}

fn members() -> Result<Vec<Member>> {
    let metadata = image::metadata()?;
    let Some(packages) = metadata["packages"].as_array() else {
        bail!("cargo metadata has no packages")
    };
    let from_root = |path: &str| -> String {
        let path = PathBuf::from(path);
        let relative = path.strip_prefix(workspace::root()).unwrap_or(&path);
        format!("{}/", relative.display())
    };
    Ok(packages
        .iter()
        .map(|package| {
            let text = |key: &str| package[key].as_str().unwrap_or_default();
            let list = |key: &str| package[key].as_array().cloned().unwrap_or_default();
            Member {
                name: text("name").to_owned(),
                directory: from_root(text("manifest_path").trim_end_matches("/Cargo.toml")),
                roots: list("targets")
                    .iter()
                    .filter_map(|target| target["src_path"].as_str().map(PathBuf::from))
                    .collect(),
                dependencies: list("dependencies")
                    .iter()
                    .filter_map(|dependency| dependency["path"].as_str().map(from_root))
                    .collect(),
            }
        })
        .collect())
}

/// Files that git knows, or would add, whose names end so; paths from the root.
fn source_files(ending: &str) -> Result<Vec<String>> {
    let mut git = std::process::Command::new("git");
    git.current_dir(workspace::root());
    git.args([
        "ls-files",
        "--cached",
        "--others",
        "--exclude-standard",
        &format!("*{ending}"),
    ]);
    let mut files: Vec<String> = capture(&mut git)?.lines().map(str::to_owned).collect();
    files.retain(|file| workspace::root().join(file).is_file());
    Ok(files)
}

/// An error that lists problems, if there are any.
fn none_of(problems: Vec<String>) -> Result<()> {
    if problems.is_empty() {
        return Ok(());
    }
    bail!(
        "{}",
        problems
            .iter()
            .map(|problem| format!("\n      {problem}"))
            .collect::<String>()
    );
}
