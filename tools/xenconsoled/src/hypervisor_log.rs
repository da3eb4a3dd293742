//! The hypervisor's console, into `hypervisor.log`: read when `VIRQ_CON_RING` says that there is more.
//!
//! How far it was read is kept beside the consoles' backlogs, so that a restarted daemon does not log it all again.

use std::path::PathBuf;
use std::time::SystemTime;

use xen_abi::sysctl::{self, ReadConsole, Sysctl, SysctlUnion};
use xen_abi::{Errno, EvtchnPort, hypercall, virq};
use xen_sys::{EventChannelDevice, Privcmd};

use crate::log::Log;

const CHUNK: usize = 4096;

/// The log of the hypervisor's console.
#[derive(Debug)]
pub struct HypervisorLog {
    privcmd: Privcmd,
    port: EvtchnPort,
    /// Where the next read begins.
    index: u32,
    index_file: PathBuf,
    log: Log,
}

impl HypervisorLog {
    /// Binds the interrupt. Its first event comes when there is something new: read at once.
    ///
    /// # Errors
    ///
    /// That the devices cannot be had, or another program has the interrupt.
    pub fn start(
        events: &EventChannelDevice,
        log: Log,
        index_file: PathBuf,
    ) -> Result<HypervisorLog, xen_sys::DeviceError> {
        let privcmd = Privcmd::open()?;
        let port = events.bind_virq(virq::CON_RING)?;
        let index = std::fs::read_to_string(&index_file)
            .ok()
            .and_then(|text| text.trim().parse().ok())
            .unwrap_or(0);
        Ok(HypervisorLog {
            privcmd,
            port,
            index,
            index_file,
            log,
        })
    }

    /// The port of the interrupt.
    pub fn port(&self) -> EvtchnPort {
        self.port
    }

    /// The log.
    pub fn log(&mut self) -> &mut Log {
        &mut self.log
    }

    /// Logs what is new.
    ///
    /// # Errors
    ///
    /// What a person should know.
    pub fn read(&mut self) -> Result<(), String> {
        let mut trouble = Ok(());
        loop {
            let (bytes, index) = self
                .read_console()
                .map_err(|error| format!("cannot read the hypervisor's console: {error}"))?;
            self.index = index;
            if let Err(text) = self.log.write(&bytes, SystemTime::now()) {
                trouble = Err(text);
            }
            if bytes.len() < CHUNK {
                // If it cannot be written, a restart logs all again.
                let _ = std::fs::write(&self.index_file, self.index.to_string());
                return trouble;
            }
        }
    }

    fn read_console(&self) -> Result<(Vec<u8>, u32), Box<dyn std::error::Error>> {
        let buffer = self.privcmd.zeroed_buffer::<u8>(CHUNK)?;
        let operation = Sysctl {
            cmd: sysctl::READCONSOLE,
            interface_version: sysctl::INTERFACE_VERSION,
            u: SysctlUnion::new(ReadConsole {
                clear: 0,
                incremental: 1,
                pad0: 0,
                pad1: 0,
                index: self.index,
                buffer: buffer.handle(),
                count: CHUNK as u32,
                _hole0: [0; 4],
            }),
        };
        let argument = self.privcmd.buffer(&operation)?;
        self.privcmd
            .hypercall(hypercall::SYSCTL, [argument.address(), 0, 0, 0, 0])
            .map_err(|Errno(number)| std::io::Error::from_raw_os_error(number))?;
        let answer = argument.get(0).u.readconsole();
        let count = (answer.count as usize).min(CHUNK);
        Ok((buffer.to_vec(count), answer.index))
    }
}
