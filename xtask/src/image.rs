//! Builds the hypervisor's image, domain 0's static tools and the test guests.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::command::{capture, cargo, run_quietly};
use crate::elf32::Container;
use crate::{symbols, workspace};

const HYPERVISOR_TARGET: &str = "x86_64-unknown-none";
const TOOLS_TARGET: &str = "x86_64-unknown-linux-musl";

/// The image in its forms.
#[derive(Clone, Debug)]
pub(crate) struct Image {
    /// What the linker made, with debug information: for disassembly and addresses.
    pub(crate) linked: PathBuf,
    /// An ELF32 container with the symbols in, which QEMU's `-kernel` and GRUB load.
    pub(crate) multiboot: PathBuf,
}

/// Builds the image.
pub(crate) fn build() -> Result<Image> {
    build_profile("release", "xenolith")
}

/// Builds the image with the checks of debug builds.
pub(crate) fn build_checked() -> Result<Image> {
    build_profile("checked", "xenolith-checked")
}

/// Builds the image; `name` is that of its multiboot form.
fn build_profile(profile: &str, name: &str) -> Result<Image> {
    // Its warnings are `cargo xtask check`'s matter.
    run_quietly(cargo().args([
        "build",
        "--quiet",
        "--profile",
        profile,
        "--package",
        "xenolith",
        "--target",
        HYPERVISOR_TARGET,
    ]))?;
    let linked = workspace::cargo_target()
        .join(HYPERVISOR_TARGET)
        .join(profile)
        .join("xenolith");
    let directory = workspace::cargo_target().join("image");
    fs::create_dir_all(&directory)?;
    let content = fs::read(&linked).with_context(|| format!("cannot read {}", linked.display()))?;
    let content = symbols::fill(content).context("the symbol table of the image")?;
    let multiboot = directory.join(name);
    let container = Container::from_elf64(&content)
        .and_then(|container| container.write())
        .context("the ELF32 container of the image")?;
    replace(&multiboot, &container)?;
    Ok(Image { linked, multiboot })
}

/// Builds the image and compresses it, as it is installed.
pub(crate) fn build_compressed() -> Result<PathBuf> {
    let image = build()?;
    let compressed = image.multiboot.with_extension("gz");
    // No name and no time: the same input gives the same file.
    let output = Command::new("gzip")
        .args(["-9", "--no-name", "--stdout"])
        .arg(&image.multiboot)
        .output()?;
    if !output.status.success() {
        bail!("gzip failed: {}", String::from_utf8_lossy(&output.stderr));
    }
    replace(&compressed, &output.stdout)?;
    Ok(compressed)
}

/// Writes a file in one step: a machine that boots it meanwhile sees the old or the new one.
fn replace(path: &Path, content: &[u8]) -> Result<()> {
    if fs::read(path).is_ok_and(|old| old == content) {
        return Ok(());
    }
    let partial = path.with_extension(format!("partial-{}", std::process::id()));
    fs::write(&partial, content).with_context(|| format!("cannot write {}", partial.display()))?;
    fs::rename(&partial, path)?;
    Ok(())
}

/// Programs that are many under several names: links to them.
const TOOL_LINKS: &[(&str, &[&str])] = &[(
    "xenstore",
    &[
        "xenstore-chmod",
        "xenstore-control",
        "xenstore-exists",
        "xenstore-list",
        "xenstore-ls",
        "xenstore-read",
        "xenstore-rm",
        "xenstore-watch",
        "xenstore-write",
    ],
)];

/// The other names of a program.
pub(crate) fn tool_links(name: &str) -> &'static [&'static str] {
    TOOL_LINKS
        .iter()
        .find(|(program, _)| *program == name)
        .map_or(&[], |(_, links)| links)
}

/// Builds domain 0's static programs, the binaries of the crates under `tools/`, and those that only tests run.
pub(crate) fn build_tools() -> Result<Vec<PathBuf>> {
    let mut programs = build_programs("tools", TOOLS_TARGET)?;
    programs.extend(build_programs("tests", TOOLS_TARGET)?);
    Ok(programs)
}

/// Builds the programs of `bench/`, which domain 0 runs where something is measured.
pub(crate) fn build_benches() -> Result<Vec<PathBuf>> {
    build_programs("bench", TOOLS_TARGET)
}

/// Builds the test guests, the binaries of the crates under `guests/`; gives their images.
pub(crate) fn build_guests() -> Result<Vec<PathBuf>> {
    build_programs("guests", HYPERVISOR_TARGET)
}

/// The names of the test guests.
pub(crate) fn guest_names() -> Result<Vec<String>> {
    Ok(programs_under("guests")?
        .into_iter()
        .map(|program| program.name)
        .collect())
}

fn build_programs(directory: &str, target: &str) -> Result<Vec<PathBuf>> {
    let programs = programs_under(directory)?;
    if programs.is_empty() {
        return Ok(Vec::new());
    }
    let mut command = cargo();
    command.args(["build", "--quiet", "--release", "--target", target]);
    for program in &programs {
        command.args(["--package", &program.package]);
    }
    run_quietly(&mut command)?;
    let directory = workspace::cargo_target().join(target).join("release");
    Ok(programs
        .iter()
        .map(|program| directory.join(&program.name))
        .collect())
}

/// A binary of a crate.
struct Program {
    package: String,
    name: String,
}

fn programs_under(directory: &str) -> Result<Vec<Program>> {
    let metadata = metadata()?;
    let prefix = workspace::root().join(directory);
    let mut programs = Vec::new();
    for package in metadata["packages"]
        .as_array()
        .context("cargo metadata has no packages")?
    {
        let manifest = package["manifest_path"].as_str().unwrap_or_default();
        if !Path::new(manifest).starts_with(&prefix) {
            continue;
        }
        for target in package["targets"].as_array().into_iter().flatten() {
            let is_program = target["kind"]
                .as_array()
                .is_some_and(|kinds| kinds.iter().any(|kind| kind == "bin"));
            if is_program {
                programs.push(Program {
                    package: package["name"].as_str().unwrap_or_default().to_owned(),
                    name: target["name"].as_str().unwrap_or_default().to_owned(),
                });
            }
        }
    }
    programs.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(programs)
}

/// What cargo knows of the workspace, without third parties' crates.
pub(crate) fn metadata() -> Result<Value> {
    let text = capture(cargo().args(["metadata", "--format-version", "1", "--no-deps"]))?;
    Ok(serde_json::from_str(&text)?)
}

/// A program of the toolchain's `llvm-tools`.
pub(crate) fn llvm_tool(name: &str) -> Result<PathBuf> {
    let sysroot = capture(
        Command::new("rustc")
            .current_dir(workspace::root())
            .args(["--print", "sysroot"]),
    )?;
    let path = Path::new(sysroot.trim())
        .join("lib/rustlib/x86_64-unknown-linux-gnu/bin")
        .join(name);
    if !path.is_file() {
        bail!("the toolchain has no {name}: cargo xtask setup");
    }
    Ok(path)
}

/// Builds everything: image, tools, guests, and prints where they are.
pub(crate) fn world() -> Result<()> {
    let compressed = build_compressed()?;
    println!(
        "image   {} ({} KiB)",
        compressed.display(),
        fs::metadata(&compressed)?.len() / 1024
    );
    for tool in build_tools()? {
        println!("tool    {}", tool.display());
    }
    for guest in build_guests()? {
        println!("guest   {}", guest.display());
    }
    Ok(())
}

/// Whether GRUB takes the image for a multiboot2 one.
pub(crate) fn check_multiboot2(image: &Path) -> Result<()> {
    run_quietly(
        Command::new("grub-file")
            .arg("--is-x86-multiboot2")
            .arg(image),
    )
    .with_context(|| format!("GRUB finds no multiboot2 header in {}", image.display()))
}
