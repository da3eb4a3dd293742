//! Instructions carried out on a small memory, with results written by hand.

use std::vec::Vec;

use super::{Memory, Progress, Registers, execute};
use crate::operand::{Gpr, Segment, Width};
use crate::table_write::decode_write;

const CF: u64 = 1;
const PF: u64 = 1 << 2;
const AF: u64 = 1 << 4;
const ZF: u64 = 1 << 6;
const SF: u64 = 1 << 7;
const DF: u64 = 1 << 10;
const OF: u64 = 1 << 11;
const RF: u64 = 1 << 16;
/// What instructions leave alone: the fixed bit, IF.
const OTHER: u64 = 0x202;

/// Where the code is.
const RIP: u64 = 0xffff_ffff_8100_0000;
/// Where the memory is.
const TABLE: u64 = 0xffff_8880_0123_4000;

#[derive(Clone, Debug, PartialEq)]
struct Cpu {
    gprs: [u64; 16],
    rip: u64,
    rflags: u64,
}

impl Cpu {
    fn new() -> Self {
        let mut gprs = [0; 16];
        gprs[7] = TABLE;
        Self {
            gprs,
            rip: RIP,
            rflags: OTHER | RF,
        }
    }

    fn with(mut self, gpr: usize, value: u64) -> Self {
        self.gprs[gpr] = value;
        self
    }

    fn flags(mut self, flags: u64) -> Self {
        self.rflags |= flags;
        self
    }
}

impl Registers for Cpu {
    fn gpr(&self, gpr: Gpr) -> u64 {
        self.gprs[usize::from(gpr.number())]
    }

    fn set_gpr(&mut self, gpr: Gpr, value: u64) {
        self.gprs[usize::from(gpr.number())] = value;
    }

    fn rip(&self) -> u64 {
        self.rip
    }

    fn set_rip(&mut self, value: u64) {
        self.rip = value;
    }

    fn rflags(&self) -> u64 {
        self.rflags
    }

    fn set_rflags(&mut self, value: u64) {
        self.rflags = value;
    }

    fn segment_base(&self, segment: Segment) -> u64 {
        match segment {
            Segment::Fs => 0x1000,
            Segment::Gs => 0x2000,
            other => panic!("{other:?} has no base"),
        }
    }
}

#[derive(Clone, Debug)]
struct Ram {
    bytes: Vec<u8>,
    /// Someone else writes this before the next compare-and-exchange.
    race: Option<u64>,
}

#[derive(Debug, PartialEq)]
struct Outside(u64);

impl Ram {
    fn of(words: &[u64]) -> Self {
        Self {
            bytes: words.iter().flat_map(|word| word.to_le_bytes()).collect(),
            race: None,
        }
    }

    fn word(&self, index: usize) -> u64 {
        u64::from_le_bytes(self.bytes[8 * index..8 * index + 8].try_into().unwrap())
    }

    fn place(&mut self, address: u64, width: Width) -> Result<&mut [u8], Outside> {
        let offset = address.wrapping_sub(TABLE);
        let range = offset as usize..offset.wrapping_add(width.bytes()) as usize;
        self.bytes.get_mut(range).ok_or(Outside(address))
    }
}

impl Memory for Ram {
    type Fault = Outside;

    fn read(&mut self, address: u64, width: Width) -> Result<u64, Outside> {
        let bytes = self.place(address, width)?;
        Ok(bytes
            .iter()
            .rev()
            .fold(0, |value, byte| value << 8 | u64::from(*byte)))
    }

    fn write(&mut self, address: u64, width: Width, value: u64) -> Result<(), Outside> {
        let bytes = self.place(address, width)?;
        bytes.copy_from_slice(&value.to_le_bytes()[..width.bytes() as usize]);
        Ok(())
    }

    fn compare_exchange(
        &mut self,
        address: u64,
        width: Width,
        expected: u64,
        new: u64,
    ) -> Result<bool, Outside> {
        if let Some(other) = self.race.take() {
            self.write(address, width, other)?;
        }
        if self.read(address, width)? != expected {
            return Ok(false);
        }
        self.write(address, width, new)?;
        Ok(true)
    }
}

/// Executes `code` and returns what came of it; checks that rip and RF follow.
fn run(code: &[u8], cpu: &mut Cpu, ram: &mut Ram) -> Progress {
    let write = decode_write(code).unwrap_or_else(|error| panic!("{code:02x?}: {error:?}"));
    assert_eq!(usize::from(write.length), code.len(), "{code:02x?}");
    let before = cpu.rip;
    let progress = execute(&write, cpu, ram).expect("the memory is there");
    if progress == Progress::Finished {
        assert_eq!(cpu.rip, before + code.len() as u64);
        assert_eq!(cpu.rflags & RF, 0);
    } else {
        assert_eq!(cpu.rip, before);
    }
    progress
}

/// Executes `code` on one word and compares the word, rax and the flags.
fn check(code: &[u8], cpu: Cpu, old: u64, new: u64, rax: u64, flags: u64) {
    let (mut cpu, mut ram) = (cpu, Ram::of(&[old]));
    assert_eq!(run(code, &mut cpu, &mut ram), Progress::Finished);
    assert_eq!(ram.word(0), new, "{code:02x?}: memory {:#x}", ram.word(0));
    assert_eq!(cpu.gprs[0], rax, "{code:02x?}: rax {:#x}", cpu.gprs[0]);
    assert_eq!(
        cpu.rflags,
        OTHER | flags,
        "{code:02x?}: flags {:#x}",
        cpu.rflags
    );
}

const OLD: u64 = 0x8000_0000_1234_5067;

#[test]
fn stores() {
    let rax = 0x1122_3344_5566_7788;
    let cpu = || Cpu::new().with(0, rax);
    // mov [rdi], al / ah / ax / eax / rax
    check(&[0x88, 0x07], cpu(), OLD, 0x8000_0000_1234_5088, rax, 0);
    check(&[0x88, 0x27], cpu(), OLD, 0x8000_0000_1234_5077, rax, 0);
    check(
        &[0x66, 0x89, 0x07],
        cpu(),
        OLD,
        0x8000_0000_1234_7788,
        rax,
        0,
    );
    check(&[0x89, 0x07], cpu(), OLD, 0x8000_0000_5566_7788, rax, 0);
    check(&[0x48, 0x89, 0x07], cpu(), OLD, rax, rax, 0);
    // movnti [rdi], rax
    check(&[0x48, 0x0f, 0xc3, 0x07], cpu(), OLD, rax, rax, 0);
    // mov qword [rdi], -2: the immediate's sign is extended
    let code = [0x48, 0xc7, 0x07, 0xfe, 0xff, 0xff, 0xff];
    check(&code, cpu(), OLD, u64::MAX - 1, rax, 0);
    // mov dword [rdi+4], 7
    let code = [0xc7, 0x47, 0x04, 7, 0, 0, 0];
    check(&code, cpu(), OLD, 0x0000_0007_1234_5067, rax, 0);
    // mov [rsp+rdi*1], sil with REX: the low byte of rsi
    let cpu = Cpu::new().with(6, 0xabcd).with(4, 0);
    check(
        &[0x40, 0x88, 0x34, 0x3c],
        cpu,
        OLD,
        0x8000_0000_1234_50cd,
        0,
        0,
    );
    // mov [moffs64], rax
    let mut code = std::vec![0x48, 0xa3];
    code.extend(TABLE.to_le_bytes());
    check(&code, Cpu::new().with(0, 5), OLD, 5, 5, 0);
}

#[test]
fn addresses() {
    let word = |code: &[u8], cpu: Cpu| {
        let (mut cpu, mut ram) = (cpu, Ram::of(&[0; 4]));
        run(code, &mut cpu, &mut ram);
        (0..4).find(|index| ram.word(*index) != 0)
    };
    // mov [rdi+r9*8-8], rax
    let cpu = Cpu::new().with(0, 1).with(9, 3);
    assert_eq!(word(&[0x4a, 0x89, 0x44, 0xcf, 0xf8], cpu), Some(2));
    // mov [r12], rax and mov [r13+8], rax: these need a SIB byte, a displacement
    let cpu = Cpu::new().with(0, 1).with(12, TABLE + 8).with(13, TABLE);
    assert_eq!(word(&[0x49, 0x89, 0x04, 0x24], cpu.clone()), Some(1));
    assert_eq!(word(&[0x49, 0x89, 0x45, 0x08], cpu), Some(1));
    // mov [rip+x], rax counts from the next instruction
    let cpu = Cpu {
        rip: TABLE - 0x100,
        ..Cpu::new().with(0, 1)
    };
    let code = [0x48, 0x89, 0x05, 0xf9, 0, 0, 0];
    assert_eq!(word(&code, cpu), Some(0));
    // mov gs:[rdi], rax: and ds does not undo gs
    let cpu = Cpu::new().with(0, 1).with(7, TABLE - 0x2000 + 24);
    assert_eq!(word(&[0x65, 0x48, 0x89, 0x07], cpu.clone()), Some(3));
    assert_eq!(word(&[0x65, 0x3e, 0x48, 0x89, 0x07], cpu), Some(3));
    // mov fs:[rdi], rax
    let cpu = Cpu::new().with(0, 1).with(7, TABLE - 0x1000);
    assert_eq!(word(&[0x64, 0x48, 0x89, 0x07], cpu), Some(0));
}

#[test]
fn a_narrow_address_is_cut() {
    // mov [edi+4], rax, with edi at the top of 4 GiB
    let cpu = Cpu::new().with(7, 0xffff_ffff);
    let write = decode_write(&[0x67, 0x48, 0x89, 0x47, 0x04]).unwrap();
    assert_eq!(write.destination.linear(0, &cpu), 3);
}

#[test]
fn exchanges() {
    let rax = 0x1122_3344_5566_7788;
    let cpu = || Cpu::new().with(0, rax);
    // xchg [rdi], rax / eax / al: 32 bits clear the upper half, 8 leave the rest
    check(&[0x48, 0x87, 0x07], cpu(), OLD, rax, OLD, 0);
    check(
        &[0x87, 0x07],
        cpu(),
        OLD,
        0x8000_0000_5566_7788,
        0x1234_5067,
        0,
    );
    check(
        &[0x86, 0x07],
        cpu(),
        OLD,
        0x8000_0000_1234_5088,
        0x1122_3344_5566_7767,
        0,
    );
    // lock xadd [rdi], rax
    check(&[0xf0, 0x48, 0x0f, 0xc1, 0x07], cpu(), 1, rax + 1, 1, 0);
}

#[test]
fn compare_and_exchange() {
    let code = [0xf0, 0x48, 0x0f, 0xb1, 0x0f]; // lock cmpxchg [rdi], rcx
    let cpu = |rax| Cpu::new().with(0, rax).with(1, 77);
    check(&code, cpu(OLD), OLD, 77, OLD, ZF | PF);
    // Unequal: rax gets the old value, flags as of rax - old.
    check(&code, cpu(5), 3, 3, 3, 0);
    check(&code, cpu(3), 5, 5, 5, CF | AF | SF);
    // cmpxchg [rdi], ecx: the comparison is of 32 bits, a mismatch clears the upper half of rax
    let code = [0x0f, 0xb1, 0x0f];
    let cpu = Cpu::new().with(0, 0xff << 32 | 1).with(1, 2);
    check(&code, cpu, 9, 9, 9, CF | AF | SF);
}

#[test]
fn compare_and_exchange_pair() {
    let code = [0xf0, 0x0f, 0xc7, 0x0f]; // lock cmpxchg8b [rdi]
    let (mut cpu, mut ram) = (Cpu::new().flags(CF), Ram::of(&[OLD]));
    cpu.gprs[0] = 0xdead_0000_1234_5067;
    cpu.gprs[2] = 0x8000_0000;
    cpu.gprs[3] = 0x1111_1111_5555_5555;
    cpu.gprs[1] = 0x6666_6666;
    run(&code, &mut cpu, &mut ram);
    assert_eq!(ram.word(0), 0x6666_6666_5555_5555);
    assert_eq!(cpu.rflags, OTHER | ZF | CF);
    run(&code, &mut cpu, &mut ram);
    assert_eq!((cpu.gprs[0], cpu.gprs[2]), (0x5555_5555, 0x6666_6666));
    assert_eq!(cpu.rflags, OTHER | CF);
}

#[test]
fn logic() {
    // lock and qword [rdi], -2; or byte [rdi], 0x80; xor [rdi], rax
    let code = [0xf0, 0x48, 0x83, 0x27, 0xfe];
    check(
        &code,
        Cpu::new().flags(CF | OF | AF),
        OLD,
        OLD & !1,
        0,
        SF | PF,
    );
    check(&[0x80, 0x0f, 0x80], Cpu::new(), OLD, OLD | 0x80, 0, SF | PF);
    check(
        &[0x48, 0x31, 0x07],
        Cpu::new().with(0, OLD),
        OLD,
        0,
        OLD,
        ZF | PF,
    );
    // not qword [rdi]: no flags
    check(
        &[0x48, 0xf7, 0x17],
        Cpu::new().flags(ZF | CF),
        OLD,
        !OLD,
        0,
        ZF | CF,
    );
}

#[test]
fn arithmetic() {
    // add [rdi], eax: carry, and the upper half of memory stays
    let code = [0x01, 0x07];
    check(
        &code,
        Cpu::new().with(0, 1),
        0xf_ffff_ffff,
        0xf_0000_0000,
        1,
        CF | ZF | PF | AF,
    );
    // add byte [rdi], 1: overflow
    check(&[0x80, 0x07, 1], Cpu::new(), 0x7f, 0x80, 0, OF | SF | AF);
    // adc [rdi], al with carry in
    let cpu = Cpu::new().with(0, 0xff).flags(CF);
    check(&[0x10, 0x07], cpu, 0, 0, 0xff, CF | ZF | PF | AF);
    // sub qword [rdi], 1 at 0
    check(
        &[0x48, 0x83, 0x2f, 1],
        Cpu::new(),
        0,
        u64::MAX,
        0,
        CF | SF | PF | AF,
    );
    // sbb [rdi], rax: all ones with borrow
    let cpu = Cpu::new().with(0, u64::MAX).flags(CF);
    check(&[0x48, 0x19, 0x07], cpu, 5, 5, u64::MAX, CF | PF | AF);
    // inc and dec leave the carry
    check(
        &[0x48, 0xff, 0x07],
        Cpu::new().flags(CF),
        u64::MAX,
        0,
        0,
        CF | ZF | PF | AF,
    );
    check(
        &[0xfe, 0x0f],
        Cpu::new().flags(CF),
        0x80,
        0x7f,
        0,
        CF | OF | AF,
    );
    // neg
    check(
        &[0x48, 0xf7, 0x1f],
        Cpu::new(),
        1,
        u64::MAX,
        0,
        CF | SF | PF | AF,
    );
    check(&[0x48, 0xf7, 0x1f], Cpu::new().flags(CF), 0, 0, 0, ZF | PF);
}

#[test]
fn bits() {
    // lock btr qword [rdi], 1; bts; btc: the immediate counts modulo the width
    let kept = ZF | SF;
    let cpu = || Cpu::new().flags(kept);
    check(
        &[0xf0, 0x48, 0x0f, 0xba, 0x37, 1],
        cpu(),
        0b11,
        0b01,
        0,
        kept | CF,
    );
    check(&[0x48, 0x0f, 0xba, 0x2f, 65], cpu(), 0, 0b10, 0, kept);
    check(&[0x0f, 0xba, 0x3f, 0xe1], cpu(), 0, 0b10, 0, kept);
    // A register's bit number reaches other words, up and down.
    let (mut cpu, mut ram) = (Cpu::new().with(0, 2 * 64 + 5), Ram::of(&[0; 4]));
    run(&[0x48, 0x0f, 0xab, 0x07], &mut cpu, &mut ram);
    assert_eq!(ram.word(2), 1 << 5);
    let (mut cpu, mut ram) = (Cpu::new().with(0, -1_i64 as u64), Ram::of(&[0; 4]));
    cpu.gprs[7] = TABLE + 16;
    run(&[0x48, 0x0f, 0xab, 0x07], &mut cpu, &mut ram);
    assert_eq!(ram.word(1), 1 << 63);
    // The number of a 32-bit operand is a signed 32-bit one.
    let (mut cpu, mut ram) = (Cpu::new().with(0, 0xffff_ffff), Ram::of(&[0; 4]));
    cpu.gprs[7] = TABLE + 16;
    run(&[0x0f, 0xab, 0x07], &mut cpu, &mut ram);
    assert_eq!(ram.word(1), 1 << 63);
}

#[test]
fn strings() {
    // rep stosq, one round at a time
    let (mut cpu, mut ram) = (Cpu::new().with(0, 9).with(1, 2), Ram::of(&[1, 2, 3]));
    let code = [0xf3, 0x48, 0xab];
    assert_eq!(run(&code, &mut cpu, &mut ram), Progress::Repeat);
    assert_eq!((cpu.gprs[1], cpu.gprs[7]), (1, TABLE + 8));
    assert_eq!(run(&code, &mut cpu, &mut ram), Progress::Finished);
    assert_eq!((cpu.gprs[1], cpu.gprs[7]), (0, TABLE + 16));
    assert_eq!([ram.word(0), ram.word(1), ram.word(2)], [9, 9, 3]);
    // With nothing to do, nothing is done.
    cpu.rip = RIP;
    assert_eq!(run(&code, &mut cpu, &mut ram), Progress::Finished);
    assert_eq!((cpu.gprs[1], cpu.gprs[7]), (0, TABLE + 16));
    // movsd downwards, without repetition: rcx does not matter
    let mut cpu = Cpu::new().with(6, TABLE + 8).flags(DF);
    run(&[0xa5], &mut cpu, &mut ram);
    assert_eq!((cpu.gprs[6], cpu.gprs[7]), (TABLE + 4, TABLE - 4));
    assert_eq!(ram.word(0), 9);
}

#[test]
fn a_race_changes_nothing() {
    for code in [
        &[0xf0, 0x48, 0x83, 0x27, 0xfe][..], // and
        &[0x48, 0x87, 0x07],                 // xchg
        &[0xf0, 0x48, 0x0f, 0xc1, 0x07],     // xadd
        &[0xf0, 0x48, 0x0f, 0xb1, 0x0f],     // cmpxchg
        &[0xf0, 0x48, 0x0f, 0xba, 0x37, 1],  // btr
    ] {
        let before = Cpu::new().with(0, OLD);
        let (mut cpu, mut ram) = (before.clone(), Ram::of(&[OLD]));
        ram.race = Some(42);
        assert_eq!(
            run(code, &mut cpu, &mut ram),
            Progress::Raced,
            "{code:02x?}"
        );
        assert_eq!(cpu, before);
        assert_eq!(ram.word(0), 42);
    }
}

#[test]
fn a_fault_changes_nothing() {
    for code in [
        &[0x48, 0x89, 0x07][..],
        &[0x48, 0x01, 0x07],
        &[0xf3, 0x48, 0xab],
        &[0x48, 0xa5],
        &[0x0f, 0xc7, 0x0f],
    ] {
        let before = Cpu::new().with(7, 0x5000).with(6, TABLE).with(1, 4);
        let mut cpu = before.clone();
        let write = decode_write(code).unwrap();
        let result = execute(&write, &mut cpu, &mut Ram::of(&[OLD]));
        assert_eq!(result, Err(Outside(0x5000)), "{code:02x?}");
        assert_eq!(cpu, before);
    }
}
