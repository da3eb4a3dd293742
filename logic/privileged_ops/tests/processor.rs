//! Execution against the processor that the tests run on: the same instruction on the same values has to leave the
//! same memory, registers and flags.
#![cfg(target_arch = "x86_64")]
// UNSAFETY: a test that executes the instructions it checks, on its own memory.
#![allow(unsafe_code)]

use core::arch::asm;

use privileged_ops::{Gpr, Memory, Progress, Registers, Segment, Width, decode_write, execute};

/// CF, PF, AF, ZF, SF, OF.
const ARITHMETIC: u64 = 0x8d5;
/// CF alone: what bit instructions define.
const CARRY: u64 = 1;
/// All but AF, which logical instructions leave undefined.
const LOGICAL: u64 = ARITHMETIC & !0x10;

/// Registers that the instructions below use: rax, rcx, rdx, rbx and the address in rdi.
#[derive(Clone, Copy, Debug, PartialEq)]
struct State {
    memory: [u64; 3],
    rax: u64,
    rcx: u64,
    rdx: u64,
    rflags: u64,
}

struct Emulated {
    state: State,
    rip: u64,
}

/// Where the emulated instruction finds the middle word of the memory.
const ADDRESS: u64 = 0x1_0008;

impl Registers for Emulated {
    fn gpr(&self, gpr: Gpr) -> u64 {
        match gpr.number() {
            0 => self.state.rax,
            1 => self.state.rcx,
            2 => self.state.rdx,
            7 => ADDRESS,
            other => panic!("register {other}"),
        }
    }

    fn set_gpr(&mut self, gpr: Gpr, value: u64) {
        match gpr.number() {
            0 => self.state.rax = value,
            1 => self.state.rcx = value,
            2 => self.state.rdx = value,
            other => panic!("register {other}"),
        }
    }

    fn rip(&self) -> u64 {
        self.rip
    }

    fn set_rip(&mut self, value: u64) {
        self.rip = value;
    }

    fn rflags(&self) -> u64 {
        self.state.rflags
    }

    fn set_rflags(&mut self, value: u64) {
        self.state.rflags = value;
    }

    fn segment_base(&self, segment: Segment) -> u64 {
        panic!("{segment:?}")
    }
}

struct Words([u8; 24]);

impl Words {
    fn range(address: u64, width: Width) -> core::ops::Range<usize> {
        let start = (address - (ADDRESS - 8)) as usize;
        start..start + width.bytes() as usize
    }
}

impl Memory for Words {
    type Fault = ();

    fn read(&mut self, address: u64, width: Width) -> Result<u64, ()> {
        let bytes = self.0.get(Self::range(address, width)).ok_or(())?;
        Ok(bytes
            .iter()
            .rev()
            .fold(0, |value, byte| value << 8 | u64::from(*byte)))
    }

    fn write(&mut self, address: u64, width: Width, value: u64) -> Result<(), ()> {
        let bytes = self.0.get_mut(Self::range(address, width)).ok_or(())?;
        bytes.copy_from_slice(&value.to_le_bytes()[..width.bytes() as usize]);
        Ok(())
    }

    fn compare_exchange(
        &mut self,
        address: u64,
        width: Width,
        expected: u64,
        new: u64,
    ) -> Result<bool, ()> {
        if self.read(address, width)? != expected {
            return Ok(false);
        }
        self.write(address, width, new)?;
        Ok(true)
    }
}

fn emulate(code: &[u8], state: State) -> State {
    let write = decode_write(code).unwrap_or_else(|error| panic!("{code:02x?}: {error:?}"));
    let mut bytes = [0; 24];
    for (word, bytes) in state.memory.iter().zip(bytes.chunks_mut(8)) {
        bytes.copy_from_slice(&word.to_le_bytes());
    }
    let mut words = Words(bytes);
    let mut emulated = Emulated { state, rip: 0x1000 };
    assert_eq!(
        execute(&write, &mut emulated, &mut words),
        Ok(Progress::Finished)
    );
    assert_eq!(emulated.rip, 0x1000 + code.len() as u64);
    for (word, bytes) in emulated.state.memory.iter_mut().zip(words.0.chunks(8)) {
        *word = u64::from_le_bytes(bytes.try_into().unwrap());
    }
    emulated.state
}

/// A function that executes an instruction on a state.
macro_rules! native {
    ($instruction:literal) => {{
        fn run(state: &mut State) {
            let flags = state.rflags;
            let mut out = 0_u64;
            // SAFETY: the instruction accesses the middle word of the state's memory, or its neighbours, through
            // rdi; the flags are the arithmetic ones.
            unsafe {
                asm!(
                    "push {flags}",
                    "popfq",
                    $instruction,
                    "pushfq",
                    "pop {out}",
                    flags = in(reg) flags,
                    out = inlateout(reg) out,
                    inlateout("rax") state.rax,
                    inlateout("rcx") state.rcx,
                    inlateout("rdx") state.rdx,
                    in("rdi") (&raw mut state.memory[1]),
                );
            }
            state.rflags = out;
        }
        run as fn(&mut State)
    }};
}

/// The instruction as text, its bytes, and the flags that it defines.
macro_rules! instructions {
    ($($text:literal $bytes:expr, $flags:expr;)*) => {
        [$(($text, &$bytes[..], native!($text), $flags),)*]
    };
}

struct Random(u64);

impl Random {
    /// Numbers that are often at the edges where carries and signs change.
    fn next(&mut self) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        let value = self.0 >> 33 ^ self.0 << 20;
        match self.0 >> 60 {
            0 => 0,
            1 => u64::MAX,
            2 => 1,
            3 => 0x8000_0000_8000_8080,
            4 => 0x7fff_ffff_7fff_7f7f,
            5 => value & 0xff,
            _ => value,
        }
    }
}

#[test]
fn as_the_processor_does() {
    let all = instructions! {
        "add [rdi], al" [0x00, 0x07], ARITHMETIC;
        "add [rdi], ax" [0x66, 0x01, 0x07], ARITHMETIC;
        "add [rdi], eax" [0x01, 0x07], ARITHMETIC;
        "add [rdi], rax" [0x48, 0x01, 0x07], ARITHMETIC;
        "add [rdi], ah" [0x00, 0x27], ARITHMETIC;
        "adc [rdi], al" [0x10, 0x07], ARITHMETIC;
        "adc [rdi], ax" [0x66, 0x11, 0x07], ARITHMETIC;
        "adc [rdi], eax" [0x11, 0x07], ARITHMETIC;
        "adc [rdi], rax" [0x48, 0x11, 0x07], ARITHMETIC;
        "sub [rdi], al" [0x28, 0x07], ARITHMETIC;
        "sub [rdi], ax" [0x66, 0x29, 0x07], ARITHMETIC;
        "sub [rdi], eax" [0x29, 0x07], ARITHMETIC;
        "sub [rdi], rax" [0x48, 0x29, 0x07], ARITHMETIC;
        "sbb [rdi], al" [0x18, 0x07], ARITHMETIC;
        "sbb [rdi], ax" [0x66, 0x19, 0x07], ARITHMETIC;
        "sbb [rdi], eax" [0x19, 0x07], ARITHMETIC;
        "sbb [rdi], rax" [0x48, 0x19, 0x07], ARITHMETIC;
        "and [rdi], al" [0x20, 0x07], LOGICAL;
        "and [rdi], rax" [0x48, 0x21, 0x07], LOGICAL;
        "lock or [rdi], eax" [0xf0, 0x09, 0x07], LOGICAL;
        "or [rdi], rax" [0x48, 0x09, 0x07], LOGICAL;
        "xor [rdi], ax" [0x66, 0x31, 0x07], LOGICAL;
        "xor [rdi], rax" [0x48, 0x31, 0x07], LOGICAL;
        "inc byte ptr [rdi]" [0xfe, 0x07], ARITHMETIC;
        "inc qword ptr [rdi]" [0x48, 0xff, 0x07], ARITHMETIC;
        "dec word ptr [rdi]" [0x66, 0xff, 0x0f], ARITHMETIC;
        "dec dword ptr [rdi]" [0xff, 0x0f], ARITHMETIC;
        "neg byte ptr [rdi]" [0xf6, 0x1f], ARITHMETIC;
        "neg qword ptr [rdi]" [0x48, 0xf7, 0x1f], ARITHMETIC;
        "not dword ptr [rdi]" [0xf7, 0x17], ARITHMETIC;
        "xchg [rdi], al" [0x86, 0x07], ARITHMETIC;
        "xchg [rdi], ax" [0x66, 0x87, 0x07], ARITHMETIC;
        "xchg [rdi], eax" [0x87, 0x07], ARITHMETIC;
        "xchg [rdi], rax" [0x48, 0x87, 0x07], ARITHMETIC;
        "xadd [rdi], al" [0x0f, 0xc0, 0x07], ARITHMETIC;
        "xadd [rdi], eax" [0x0f, 0xc1, 0x07], ARITHMETIC;
        "lock xadd [rdi], rax" [0xf0, 0x48, 0x0f, 0xc1, 0x07], ARITHMETIC;
        "cmpxchg [rdi], cl" [0x0f, 0xb0, 0x0f], ARITHMETIC;
        "cmpxchg [rdi], cx" [0x66, 0x0f, 0xb1, 0x0f], ARITHMETIC;
        "cmpxchg [rdi], ecx" [0x0f, 0xb1, 0x0f], ARITHMETIC;
        "lock cmpxchg [rdi], rcx" [0xf0, 0x48, 0x0f, 0xb1, 0x0f], ARITHMETIC;
        "bts qword ptr [rdi], 67" [0x48, 0x0f, 0xba, 0x2f, 67], CARRY;
        "btr dword ptr [rdi], 34" [0x0f, 0xba, 0x37, 34], CARRY;
        "btc word ptr [rdi], 17" [0x66, 0x0f, 0xba, 0x3f, 17], CARRY;
        "mov [rdi], ch" [0x88, 0x2f], ARITHMETIC;
        "mov [rdi], cx" [0x66, 0x89, 0x0f], ARITHMETIC;
        "mov dword ptr [rdi], -2" [0xc7, 0x07, 0xfe, 0xff, 0xff, 0xff], ARITHMETIC;
        "mov qword ptr [rdi], -2" [0x48, 0xc7, 0x07, 0xfe, 0xff, 0xff, 0xff], ARITHMETIC;
        "movnti [rdi], rcx" [0x48, 0x0f, 0xc3, 0x0f], ARITHMETIC;
    };
    let mut random = Random(1);
    for (text, code, native, flags) in all {
        for round in 0..2_000 {
            let mut before = State {
                memory: [random.next(), random.next(), random.next()],
                rax: random.next(),
                rcx: random.next(),
                rdx: random.next(),
                rflags: 0x202 | (random.next() & ARITHMETIC),
            };
            // Half of the comparisons shall be equal.
            if round & 1 == 0 && text.contains("cmpxchg") {
                before.rax = before.memory[1];
            }
            compare(text, code, native, flags, before);
        }
    }
}

#[test]
fn bits_beyond_the_operand() {
    let all = instructions! {
        "bts [rdi], rdx" [0x48, 0x0f, 0xab, 0x17], CARRY;
        "btr [rdi], rdx" [0x48, 0x0f, 0xb3, 0x17], CARRY;
        "lock btc [rdi], rdx" [0xf0, 0x48, 0x0f, 0xbb, 0x17], CARRY;
        "bts [rdi], edx" [0x0f, 0xab, 0x17], CARRY;
        "btr [rdi], dx" [0x66, 0x0f, 0xb3, 0x17], CARRY;
    };
    let mut random = Random(2);
    for (text, code, native, flags) in all {
        for bit in -64_i64..128 {
            let before = State {
                memory: [random.next(), random.next(), random.next()],
                rax: 0,
                rcx: 0,
                rdx: bit as u64,
                rflags: 0x202 | (random.next() & ARITHMETIC),
            };
            compare(text, code, native, flags, before);
        }
    }
}

fn compare(text: &str, code: &[u8], native: fn(&mut State), flags: u64, before: State) {
    let mut theirs = before;
    native(&mut theirs);
    let mut ours = emulate(code, before);
    theirs.rflags &= flags;
    ours.rflags &= flags;
    assert_eq!(ours, theirs, "{text} on {before:x?}");
}
