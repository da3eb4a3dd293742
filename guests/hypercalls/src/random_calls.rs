//! Random calls: of each, most arguments are what the call wants, some are changed, some are anything.
//!
//! Pages that calls may take away or change are [`Calls::victims`], which the guest itself never touches; what they read
//! and write is in [`Calls::buffers`].

use guest_runtime::hypercalls;
use guest_runtime::memory::{M2P, PAGE, Page, pte};
use guest_runtime::println;
use guest_runtime::random::Random;
use guest_runtime::xen_abi::hypercall as number;

use crate::{bad_pointers, check_alive, is_final};

struct Calls {
    random: Random,
    victims: [Page; 16],
    /// Their machine frames at the start.
    frames: [u64; 16],
    buffers: [Page; 4],
    bad: [u64; 14],
    is_careful: bool,
}

struct Call {
    nr: u32,
    args: [u64; 5],
}

/// Makes `steps` calls.
pub(crate) fn run(seed: u64, steps: u64, is_careful: bool) {
    let victims = [(); 16].map(|()| Page::take());
    let mut calls = Calls {
        random: Random(seed),
        victims,
        frames: victims.map(Page::mfn),
        buffers: [(); 4].map(|()| Page::take()),
        bad: bad_pointers(crate::crossing()),
        is_careful,
    };
    for step in 0..steps {
        if step % (1 << 16) == 0 {
            println!("step {step}");
        }
        calls.fill();
        let call = calls.call();
        if calls.is_allowed(&call) {
            hypercalls::call(call.nr, &call.args);
        }
        if step % (1 << 12) == 0 {
            check_alive();
        }
    }
}

impl Calls {
    /// A number that is small, or near a limit, or anything.
    fn number(&mut self) -> u64 {
        match self.random.below(10) {
            0..=4 => self.random.below(40),
            5 => 1 << self.random.below(64),
            6 => (1_u64 << self.random.below(64)).wrapping_sub(1),
            7 => u64::MAX - self.random.below(64),
            8 => u64::from(self.random.word() as u32),
            _ => self.random.word(),
        }
    }

    fn frame(&mut self) -> u64 {
        match self.random.below(10) {
            0..=7 => self.random.one_of(&self.frames),
            8 => self
                .random
                .one_of(&[0xfee00, 0xfec00, 0xb8, 0x100, 0x200, 1 << 40]),
            _ => self.number(),
        }
    }

    fn pointer(&mut self) -> u64 {
        match self.random.below(10) {
            0..=6 => self.random.one_of(&self.buffers).address + 64 * self.random.below(48),
            7 => self.random.one_of(&self.victims).address,
            8 => self.random.one_of(&self.bad),
            _ => self.number(),
        }
    }

    /// An entry of a page table.
    fn entry(&mut self) -> u64 {
        let flags = self.random.one_of(&[
            0,
            pte::PAGE_RO,
            pte::PAGE_RW,
            pte::TABLE,
            pte::TABLE | pte::PSE,
            pte::PAGE_RO | pte::US,
            pte::TABLE & !pte::RW,
        ]);
        let odd = if self.random.below(8) == 0 {
            1 << self.random.below(64)
        } else {
            0
        };
        (self.frame() * PAGE) | flags ^ odd
    }

    fn word(&mut self) -> u64 {
        match self.random.below(8) {
            0..=2 => self.number(),
            3 => self.frame(),
            4 => {
                self.frame().wrapping_mul(PAGE) | 8 * self.random.below(512) | self.random.below(4)
            }
            5 => self.entry(),
            6 => self.pointer(),
            _ => self
                .random
                .one_of(&[0x7ff0, 0x7ff1, 0x7ff2, 0, 1, 0x7ff0 << 32]),
        }
    }

    /// Writes anything where calls look for their arguments.
    fn fill(&mut self) {
        let buffer = self.random.one_of(&self.buffers);
        let start = self.random.below(448);
        for index in start..start + 1 + self.random.below(24) {
            let word = if index % 2 == 0 && self.random.below(2) == 0 {
                // Two of 32 bits.
                self.number() & 0xffff_ffff | self.number() << 32
            } else {
                self.word()
            };
            buffer.set(index, word);
        }
    }

    fn call(&mut self) -> Call {
        let nr = self.random.below(56) as u32;
        let mut args = [0; 5];
        for arg in &mut args {
            *arg = match self.random.below(4) {
                0 => self.number(),
                1 => self.pointer(),
                2 => self.word(),
                _ => self.random.below(24),
            };
        }
        // What the call wants, mostly.
        if self.random.below(10) < 8 {
            match nr {
                number::MMU_UPDATE | number::MMUEXT_OP => {
                    args = [self.pointer(), self.random.below(5), 0, 0x7ff0, 0];
                }
                number::UPDATE_VA_MAPPING | number::UPDATE_VA_MAPPING_OTHERDOMAIN => {
                    args = [
                        self.random.one_of(&self.victims).address,
                        self.entry(),
                        self.random.below(8),
                        self.random.one_of(&[0x7ff0, 0, 1, 0x7ff1]),
                        0,
                    ];
                }
                number::UPDATE_DESCRIPTOR => {
                    args[0] = self.frame() * PAGE | 8 * self.random.below(512)
                }
                number::SET_GDT | number::MULTICALL => {
                    args[0] = self.pointer();
                    args[1] = self.random.below(20);
                }
                number::VCPU_OP => args = [self.random.below(16), 0, self.pointer(), 0, 0],
                number::GRANT_TABLE_OP => {
                    args = [
                        self.random.below(13),
                        self.pointer(),
                        self.random.below(4),
                        0,
                        0,
                    ];
                }
                number::CONSOLE_IO => args = [1, self.random.below(64), self.pointer(), 0, 0],
                _ => {
                    args[0] = self.random.below(32);
                    args[1] = self.pointer();
                }
            }
        }
        Call { nr, args }
    }

    /// Whether the guest can go on after the call, if it does what it is for. Lists are looked through; the
    /// hypervisor reads them after that, and nobody else writes.
    fn is_allowed(&mut self, call: &Call) -> bool {
        let [a0, a1, a2, ..] = call.args;
        let operation = a0 as u32;
        let in_buffers = |at: u64| {
            self.buffers
                .iter()
                .any(|page| at.wrapping_sub(page.address) < PAGE)
        };
        let in_victims = |at: u64| {
            self.victims
                .iter()
                .any(|page| at.wrapping_sub(page.address) < PAGE)
        };
        // The guest's image and tables are in the first 8 MiB; the call may not change what is mapped there.
        let is_image = |at: u64| at < 8 << 20 && !in_victims(at);
        if is_final(call.nr, a0) {
            return false;
        }
        match call.nr {
            // Handlers, and where breakpoints are: needed to see what goes wrong.
            number::SET_TRAP_TABLE => a0 >= 8 << 20,
            number::SET_DEBUGREG => a0 != 7 && a0 != 5,
            number::UPDATE_VA_MAPPING | number::UPDATE_VA_MAPPING_OTHERDOMAIN => !is_image(a0),
            // What is written is looked at for words of this guest.
            number::CONSOLE_IO => operation != 0 || a2 >= 8 << 20,
            // Lists: of what the guest made itself only.
            number::MMUEXT_OP => a0 >= 8 << 20 || in_buffers(a0) && a1 < 6 && self.root_stays(a0),
            number::MMU_UPDATE => a0 >= 8 << 20 || in_buffers(a0),
            number::MULTICALL => {
                a0 >= 8 << 20 || in_buffers(a0) && a1 < 20 && self.make_list(a0, a1)
            }
            number::PHYSDEV_OP => !self.is_careful || [6, 7].contains(&operation),
            // What the machine's owner may do to the machine.
            number::PLATFORM_OP
            | number::SYSCTL
            | number::DOMCTL
            | number::KEXEC_OP
            | number::ARCH_0
            | number::HYPFS_OP => !(64..8 << 20).contains(&a0),
            // Gives back or exchanges memory: of lists that the guest made.
            _ => true,
        }
    }

    /// No entry of a list of extended operations loads another root.
    fn root_stays(&self, at: u64) -> bool {
        (0..6).all(|index| {
            let at = at + 24 * index;
            at % PAGE > PAGE - 24 || guest_runtime::memory::read::<u32>(at) != 5
        })
    }

    /// Makes a list of calls, some of them lists.
    fn make_list(&mut self, at: u64, count: u64) -> bool {
        for index in 0..count {
            let at = at + 64 * index;
            if at / PAGE != (at + 63) / PAGE || at % PAGE + 64 * count > PAGE {
                return false;
            }
            let mut call = self.call();
            if call.nr == number::MULTICALL || call.nr == number::MMUEXT_OP {
                // Within lists these may be anything but lists that were not looked through.
                call.args[0] = self.random.one_of(&[0x4000_0000_0000, M2P, u64::MAX]);
            }
            if !self.is_allowed(&call) {
                call.nr = number::XEN_VERSION;
                call.args = [0; 5];
            }
            let words = [u64::from(call.nr), 0];
            for (offset, word) in (0..).zip(words.into_iter().chain(call.args).chain([0])) {
                guest_runtime::memory::write(at + 8 * offset, word);
            }
        }
        true
    }
}
