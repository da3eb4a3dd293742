//! The list of commands, and those that are about it.

use clap::Args;
use clap_complete::Shell;

use crate::command::{Entry, Run, entry, whole};
use crate::context::{Context, Outcome};
use crate::devices::disk::{BlockAttach, BlockDetach, BlockList};
use crate::devices::serve::ServeDisk;
use crate::devices::vif::{NetworkAttach, NetworkDetach, NetworkList};
use crate::{
    config_update, console, create, destroy, dump_core, identity, info, list, memory, messages,
    monitor, pause, pools, scheduler, shutdown, top, vcpus,
};

/// All commands, in the order in which help lists them.
pub(crate) const ALL: &[Entry] = &[
    entry::<create::Create>(),
    entry::<config_update::ConfigUpdate>(),
    entry::<list::List>(),
    entry::<destroy::Destroy>(),
    entry::<shutdown::Shutdown>(),
    entry::<shutdown::Reboot>(),
    entry::<pause::Pause>(),
    entry::<pause::Unpause>(),
    entry::<console::Console>(),
    entry::<dump_core::DumpCore>(),
    entry::<memory::MemSet>(),
    entry::<memory::MemMax>(),
    entry::<vcpus::VcpuList>(),
    entry::<vcpus::VcpuSet>(),
    entry::<vcpus::VcpuPin>(),
    entry::<list::VmList>(),
    entry::<info::Info>(),
    entry::<scheduler::SchedCredit2>(),
    entry::<identity::DomId>(),
    entry::<identity::DomName>(),
    entry::<identity::Rename>(),
    entry::<messages::Trigger>(),
    entry::<messages::Sysrq>(),
    entry::<messages::DebugKeys>(),
    entry::<messages::Dmesg>(),
    entry::<top::Top>(),
    entry::<NetworkAttach>(),
    entry::<NetworkList>(),
    entry::<NetworkDetach>(),
    entry::<BlockAttach>(),
    entry::<BlockList>(),
    entry::<BlockDetach>(),
    entry::<list::Uptime>(),
    entry::<list::Claims>(),
    entry::<pools::CpupoolCreate>(),
    entry::<pools::CpupoolList>(),
    entry::<pools::CpupoolDestroy>(),
    entry::<pools::CpupoolRename>(),
    entry::<pools::CpupoolCpuAdd>(),
    entry::<pools::CpupoolCpuRemove>(),
    entry::<pools::CpupoolMigrate>(),
    entry::<pools::CpupoolNumaSplit>(),
    entry::<monitor::Monitor>(),
    entry::<monitor::Reconcile>(),
    entry::<ServeDisk>(),
    entry::<Completions>(),
    entry::<ManualPages>(),
];

/// Prints a shell's completions.
#[derive(Args, Debug)]
pub(crate) struct Completions {
    /// bash, elvish, fish, powershell or zsh
    shell: Shell,
}

impl Run for Completions {
    const NAME: &'static str = "completions";
    const ABOUT: &'static str = "Print completions for a shell";

    fn run(self, _: &Context) -> Outcome {
        clap_complete::generate(self.shell, &mut whole(), "xl", &mut std::io::stdout());
        Ok(())
    }
}

/// Writes manual pages.
#[derive(Args, Debug)]
pub(crate) struct ManualPages {
    /// Where to, one page for each command
    directory: std::path::PathBuf,
}

impl Run for ManualPages {
    const NAME: &'static str = "manual-pages";
    const ABOUT: &'static str = "Write manual pages into a directory";

    fn run(self, _: &Context) -> Outcome {
        std::fs::create_dir_all(&self.directory)?;
        clap_mangen::generate_to(whole(), &self.directory)?;
        Ok(())
    }
}
