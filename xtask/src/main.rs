//! Builds Xenolith, boots it in QEMU, tests and checks it. `cargo xtask --help` says how.

#![forbid(unsafe_code)]

mod bench;
mod check;
mod command;
mod cpio;
mod debian;
mod debian_guest;
mod debian_root;
mod dom0;
mod elf32;
mod host_server;
mod image;
mod initramfs;
mod install;
mod iso;
mod machine;
mod modules;
mod profile;
mod session;
mod setup;
mod symbols;
mod test;
mod workspace;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

use crate::setup::Need;

#[derive(Parser)]
#[command(
    name = "cargo xtask",
    bin_name = "cargo xtask",
    about = "Builds, boots, tests and checks Xenolith",
    version
)]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Install what this machine lacks
    Setup,
    /// Build the hypervisor's image
    Build,
    /// Build everything: image, domain 0's tools, test guests
    World,
    /// Boot a hypervisor with a domain 0: run a script there, or a shell
    Dom0(dom0::Options),
    /// Build Xenolith and give a shell in its domain 0, beside two Debian domains
    Run(dom0::Options),
    /// Make an ISO that GRUB boots by multiboot2, with a shell in domain 0
    Iso(dom0::Options),
    /// Run the tests
    Test(test::Options),
    /// Check format, lints, layers, the unsafe ring, sizes, documents, ABI layouts, registers
    Check(check::Options),
    /// Measure, side by side with the bare machine and Debian's Xen
    Bench(bench::Options),
    /// Count where Xenolith's and the kernel's instructions go while domain 0's programs do something; a flame graph in target/bench
    Profile(profile::Options),
    /// Install the image and the tools below DESTDIR
    Install {
        /// Empty: this machine itself
        #[arg(default_value = "")]
        destdir: String,
    },
}

fn main() -> ExitCode {
    match perform(Arguments::parse().task) {
        Ok(status) => ExitCode::from(u8::try_from(status).unwrap_or(1)),
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn perform(task: Task) -> Result<i32> {
    match task {
        Task::Setup => setup::setup(Need::Test)?,
        Task::Build => println!("{}", image::build()?.multiboot.display()),
        Task::World => {
            setup::setup(Need::Run)?;
            image::world()?;
        }
        Task::Iso(options) => println!("{}", iso::command(&options)?.display()),
        Task::Check(options) => return check::command(&options),
        Task::Profile(options) => return profile::command(&options),
        Task::Bench(options) => return bench::command(&options),
        Task::Install { destdir } => {
            for path in install::install(&destdir)? {
                println!("installed {}", path.display());
            }
        }
        Task::Test(options) => return test::command(&options),
        Task::Dom0(options) => return dom0::command(&options),
        Task::Run(options) => return dom0::run(options),
    }
    Ok(0)
}
