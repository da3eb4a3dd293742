//! The decoders against iced-x86, over random bytes and over every opcode with every ModRM.

use iced_x86::{
    Code, Decoder, DecoderOptions, Instruction, MemorySize, Mnemonic, OpKind, Register,
};
use privileged_ops::{
    Alu, Bit, Gpr, MemoryOperand, Mode, Port, Privileged, PrivilegedOp, Segment, Source,
    TableWrite, Unary, Width, WriteKind, decode_privileged, decode_write,
};

const RIP: u64 = 0xffff_ffff_8100_0000;

/// A generator of the same numbers every time (SplitMix64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

/// Byte strings that are often instructions: prefixes, an opcode that matters, random operands.
fn candidates() -> impl Iterator<Item = [u8; 15]> {
    const PREFIXES: [u8; 18] = [
        0x66, 0x67, 0xf2, 0xf3, 0xf0, 0x2e, 0x36, 0x3e, 0x26, 0x64, 0x65, 0x40, 0x41, 0x44, 0x48,
        0x49, 0x4f, 0x4a,
    ];
    let mut random = Random(1);
    (0..600_000).map(move |round| {
        let mut bytes = [0; 15];
        for byte in &mut bytes {
            *byte = random.next() as u8;
        }
        if round % 8 == 0 {
            return bytes;
        }
        let mut at = 0;
        for _ in 0..random.next() % 4 {
            bytes[at] = PREFIXES[random.next() as usize % PREFIXES.len()];
            at += 1;
        }
        if random.next() & 1 == 0 {
            bytes[at] = 0x0f;
            at += 1;
            if random.next() & 7 == 0 {
                bytes[at] = 1;
                bytes[at + 1] = 0xc0 | (random.next() as u8 & 0x3f);
                return bytes;
            }
        }
        bytes[at] = random.next() as u8;
        bytes
    })
}

fn reference(bytes: &[u8], mode: Mode) -> Option<Instruction> {
    let bits = match mode {
        Mode::Long => 64,
        Mode::Compatibility => 32,
    };
    let mut decoder = Decoder::with_ip(bits, bytes, RIP, DecoderOptions::NONE);
    let instruction = decoder.decode();
    (!instruction.is_invalid()).then_some(instruction)
}

fn gpr(register: Register) -> Gpr {
    assert!(register.is_gpr(), "{register:?}");
    let number = register.full_register().number();
    Gpr::new(number as u8)
}

fn segment(register: Register) -> Segment {
    match register {
        Register::ES => Segment::Es,
        Register::CS => Segment::Cs,
        Register::SS => Segment::Ss,
        Register::DS => Segment::Ds,
        Register::FS => Segment::Fs,
        Register::GS => Segment::Gs,
        other => panic!("{other:?}"),
    }
}

/// In long mode the segments without a base are all one; the reference keeps their names.
fn in_long_mode(segment: Segment) -> Segment {
    match segment {
        Segment::Fs | Segment::Gs => segment,
        _ => Segment::Ds,
    }
}

fn width_of(register: Register) -> Width {
    match register.size() {
        1 => Width::Byte,
        2 => Width::Word,
        4 => Width::Double,
        8 => Width::Quad,
        other => panic!("{other}"),
    }
}

fn port(instruction: &Instruction, operand: u32) -> Port {
    match instruction.op_kind(operand) {
        OpKind::Immediate8 => Port::Immediate(instruction.immediate8()),
        _ => {
            assert_eq!(instruction.op_register(operand), Register::DX);
            Port::Dx
        }
    }
}

fn memory_width(size: MemorySize) -> Width {
    match size.size() {
        1 => Width::Byte,
        2 => Width::Word,
        4 => Width::Double,
        8 => Width::Quad,
        other => panic!("{other}"),
    }
}

fn control(register: Register) -> u8 {
    register.number() as u8
}

/// What the reference says of a privileged instruction; `None` for others.
fn privileged(instruction: &Instruction) -> Option<PrivilegedOp> {
    let repeat = instruction.has_rep_prefix() || instruction.has_repne_prefix();
    let narrow = |kind| matches!(kind, OpKind::MemoryESEDI | OpKind::MemorySegESI);
    Some(match instruction.mnemonic() {
        Mnemonic::In => PrivilegedOp::In {
            port: port(instruction, 1),
            width: width_of(instruction.op0_register()),
        },
        Mnemonic::Out => PrivilegedOp::Out {
            port: port(instruction, 0),
            width: width_of(instruction.op1_register()),
        },
        Mnemonic::Insb | Mnemonic::Insw | Mnemonic::Insd => {
            if instruction.op0_kind() == OpKind::MemoryESDI {
                return None;
            }
            PrivilegedOp::Ins {
                width: memory_width(instruction.memory_size()),
                repeat,
                narrow: narrow(instruction.op0_kind()),
            }
        }
        Mnemonic::Outsb | Mnemonic::Outsw | Mnemonic::Outsd => {
            if instruction.op1_kind() == OpKind::MemorySegSI {
                return None;
            }
            PrivilegedOp::Outs {
                width: memory_width(instruction.memory_size()),
                repeat,
                narrow: narrow(instruction.op1_kind()),
                segment: segment(instruction.memory_segment()),
            }
        }
        Mnemonic::Cli => PrivilegedOp::Cli,
        Mnemonic::Sti => PrivilegedOp::Sti,
        Mnemonic::Hlt => PrivilegedOp::Hlt,
        Mnemonic::Clts => PrivilegedOp::Clts,
        Mnemonic::Invd => PrivilegedOp::Invd,
        // Without its prefix, or on a processor without it, the second is the first.
        Mnemonic::Wbinvd | Mnemonic::Wbnoinvd => PrivilegedOp::Wbinvd,
        Mnemonic::Rdmsr => PrivilegedOp::Rdmsr,
        Mnemonic::Wrmsr => PrivilegedOp::Wrmsr,
        Mnemonic::Rdtsc => PrivilegedOp::Rdtsc,
        Mnemonic::Rdtscp => PrivilegedOp::Rdtscp,
        Mnemonic::Rdpmc => PrivilegedOp::Rdpmc,
        Mnemonic::Cpuid => PrivilegedOp::Cpuid,
        Mnemonic::Xsetbv => PrivilegedOp::Xsetbv,
        Mnemonic::Mov => {
            let (to, from) = (instruction.op0_register(), instruction.op1_register());
            if from.is_cr() {
                PrivilegedOp::ReadControl {
                    control: control(from),
                    gpr: gpr(to),
                }
            } else if to.is_cr() {
                PrivilegedOp::WriteControl {
                    control: control(to),
                    gpr: gpr(from),
                }
            } else if from.is_dr() {
                PrivilegedOp::ReadDebug {
                    debug: control(from),
                    gpr: gpr(to),
                }
            } else if to.is_dr() {
                PrivilegedOp::WriteDebug {
                    debug: control(to),
                    gpr: gpr(from),
                }
            } else {
                return None;
            }
        }
        _ => return None,
    })
}

/// The reference decodes these although the processor, or the hypervisor, does not take them.
fn is_left_out(instruction: &Instruction, bytes: &[u8]) -> bool {
    // A lock prefix on `mov cr0` is AMD's other name of cr8.
    instruction.has_lock_prefix()
        // Prefixes that choose another instruction in this place on newer processors.
        || (matches!(instruction.mnemonic(), Mnemonic::Rdtscp | Mnemonic::Xsetbv)
            && bytes.iter().take(instruction.len()).any(|byte| matches!(byte, 0x66 | 0xf2 | 0xf3)))
}

#[test]
fn privileged_instructions_are_the_reference_s() {
    let mut seen = std::collections::HashSet::new();
    for bytes in candidates() {
        for mode in [Mode::Long, Mode::Compatibility] {
            let wanted = reference(&bytes, mode)
                .filter(|instruction| !is_left_out(instruction, &bytes))
                .and_then(|instruction| Some((privileged(&instruction)?, instruction)));
            match (decode_privileged(&bytes, mode), wanted) {
                (Ok(Privileged { op, length }), Some((mut wanted, instruction))) => {
                    if let (Mode::Long, PrivilegedOp::Outs { segment, .. }) = (mode, &mut wanted) {
                        *segment = in_long_mode(*segment);
                    }
                    assert_eq!(op, wanted, "{bytes:02x?} {instruction}");
                    assert_eq!(usize::from(length), instruction.len(), "{bytes:02x?}");
                    seen.insert(instruction.code());
                }
                (Err(_), None) => {}
                (ours, theirs) => panic!("{mode:?} {bytes:02x?}: {ours:?}, reference {theirs:?}"),
            }
        }
    }
    for code in [
        Code::In_AL_imm8,
        Code::Out_DX_EAX,
        Code::Insw_m16_DX,
        Code::Outsd_DX_m32,
        Code::Cli,
        Code::Sti,
        Code::Hlt,
        Code::Clts,
        Code::Invd,
        Code::Wbinvd,
        Code::Mov_r64_cr,
        Code::Mov_cr_r64,
        Code::Mov_r64_dr,
        Code::Mov_dr_r64,
        Code::Rdmsr,
        Code::Wrmsr,
        Code::Rdtsc,
        Code::Rdtscp,
        Code::Rdpmc,
        Code::Cpuid,
        Code::Xsetbv,
    ] {
        assert!(seen.contains(&code), "{code:?} was never tried");
    }
}

fn memory(instruction: &Instruction) -> MemoryOperand {
    let register = |register| (register != Register::None).then(|| gpr(register));
    let base = instruction.memory_base();
    let index = instruction.memory_index();
    let rip_relative = instruction.is_ip_rel_memory_operand();
    let mut displacement = instruction.memory_displacement64();
    if rip_relative {
        displacement = displacement.wrapping_sub(instruction.next_ip());
    }
    let narrow = base.size() == 4 || index.size() == 4 || base == Register::EIP;
    MemoryOperand {
        segment: segment(instruction.memory_segment()),
        base: if rip_relative { None } else { register(base) },
        index: register(index)
            .map(|gpr| (gpr, instruction.memory_index_scale().trailing_zeros() as u8)),
        displacement,
        rip_relative,
        narrow,
    }
}

fn source(instruction: &Instruction, width: Width) -> Source {
    let operand = instruction.op_count() - 1;
    match instruction.op_kind(operand) {
        OpKind::Register => Source::Register(plain(instruction.op_register(operand))),
        _ => Source::Immediate(instruction.immediate(operand) & width.mask()),
    }
}

fn plain(register: Register) -> privileged_ops::Register {
    let high_byte = matches!(
        register,
        Register::AH | Register::BH | Register::CH | Register::DH
    );
    let gpr = match register {
        Register::AH => Gpr::RAX,
        Register::CH => Gpr::RCX,
        Register::DH => Gpr::RDX,
        Register::BH => Gpr::RBX,
        other => gpr(other),
    };
    privileged_ops::Register { gpr, high_byte }
}

/// What the reference says of a write to memory; `None` for others.
fn table_write(instruction: &Instruction) -> Option<TableWrite> {
    let repeat = instruction.has_rep_prefix() || instruction.has_repne_prefix();
    let string = matches!(
        instruction.op0_kind(),
        OpKind::MemoryESRDI | OpKind::MemoryESEDI
    );
    if !string && instruction.op0_kind() != OpKind::Memory {
        // `xchg` has its operands in either order.
        return None;
    }
    if !matches!(instruction.memory_size().size(), 1 | 2 | 4 | 8) {
        return None;
    }
    let width = memory_width(instruction.memory_size());
    let register = || plain(instruction.op1_register());
    let kind = match instruction.mnemonic() {
        Mnemonic::Mov
            if instruction.op1_kind() == OpKind::Register
                && !instruction.op1_register().is_gpr() =>
        {
            return None;
        }
        Mnemonic::Mov | Mnemonic::Movnti => WriteKind::Store(source(instruction, width)),
        Mnemonic::Xchg => WriteKind::Exchange(register()),
        Mnemonic::Cmpxchg => WriteKind::CompareExchange(register()),
        Mnemonic::Cmpxchg8b => WriteKind::CompareExchangePair,
        Mnemonic::Xadd => WriteKind::ExchangeAdd(register()),
        Mnemonic::Add => WriteKind::Alu(Alu::Add, source(instruction, width)),
        Mnemonic::Or => WriteKind::Alu(Alu::Or, source(instruction, width)),
        Mnemonic::Adc => WriteKind::Alu(Alu::Adc, source(instruction, width)),
        Mnemonic::Sbb => WriteKind::Alu(Alu::Sbb, source(instruction, width)),
        Mnemonic::And => WriteKind::Alu(Alu::And, source(instruction, width)),
        Mnemonic::Sub => WriteKind::Alu(Alu::Sub, source(instruction, width)),
        Mnemonic::Xor => WriteKind::Alu(Alu::Xor, source(instruction, width)),
        Mnemonic::Inc => WriteKind::Unary(Unary::Inc),
        Mnemonic::Dec => WriteKind::Unary(Unary::Dec),
        Mnemonic::Not => WriteKind::Unary(Unary::Not),
        Mnemonic::Neg => WriteKind::Unary(Unary::Neg),
        Mnemonic::Bts => WriteKind::Bit(Bit::Set, source(instruction, width)),
        Mnemonic::Btr => WriteKind::Bit(Bit::Reset, source(instruction, width)),
        Mnemonic::Btc => WriteKind::Bit(Bit::Complement, source(instruction, width)),
        Mnemonic::Stosb | Mnemonic::Stosw | Mnemonic::Stosd | Mnemonic::Stosq => {
            WriteKind::StoreString { repeat }
        }
        Mnemonic::Movsb | Mnemonic::Movsw | Mnemonic::Movsd | Mnemonic::Movsq if string => {
            WriteKind::MoveString {
                repeat,
                segment: segment(instruction.memory_segment()),
            }
        }
        _ => return None,
    };
    let destination = if string {
        MemoryOperand {
            segment: Segment::Es,
            base: Some(Gpr::RDI),
            index: None,
            displacement: 0,
            rip_relative: false,
            narrow: instruction.op0_kind() == OpKind::MemoryESEDI,
        }
    } else {
        memory(instruction)
    };
    Some(TableWrite {
        kind,
        destination,
        width,
        length: instruction.len() as u8,
    })
}

/// Immediates cut to the operand's width, since that is all of them that counts; the address-size prefix and
/// default segments without a base left out, where the reference does not tell them.
fn comparable(mut write: TableWrite, theirs: &TableWrite) -> TableWrite {
    let cut = |source: &mut Source, width: Width| {
        if let Source::Immediate(value) = source {
            *value &= width.mask();
        }
    };
    match &mut write.kind {
        WriteKind::Store(source) | WriteKind::Alu(_, source) => cut(source, write.width),
        WriteKind::Bit(_, source) => cut(source, write.width),
        _ => {}
    }
    let destination = &mut write.destination;
    destination.segment = in_long_mode(destination.segment);
    if destination.base.is_none() && destination.index.is_none() && !destination.rip_relative {
        // An absolute address: the reference has cut it already.
        if destination.narrow {
            destination.displacement &= 0xffff_ffff;
        }
        destination.narrow = theirs.destination.narrow;
    }
    if destination.rip_relative && destination.narrow {
        destination.displacement = theirs.destination.displacement;
    }
    write
}

/// What the reference tells more, or otherwise, than matters.
fn plainer(mut write: TableWrite) -> TableWrite {
    write.destination.segment = in_long_mode(write.destination.segment);
    if write.destination.narrow {
        write.destination.displacement &= 0xffff_ffff;
    }
    if let WriteKind::MoveString { segment, .. } = &mut write.kind {
        *segment = in_long_mode(*segment);
    }
    if let WriteKind::Bit(_, Source::Immediate(value)) = &mut write.kind {
        *value &= 0xff;
    }
    write
}

#[test]
fn table_writes_are_the_reference_s() {
    let mut seen = std::collections::HashSet::new();
    for bytes in candidates() {
        let wanted = reference(&bytes, Mode::Long)
            .and_then(|instruction| Some((table_write(&instruction)?, instruction)));
        match (decode_write(&bytes), wanted) {
            (Ok(write), Some((wanted, instruction))) => {
                let write = plainer(comparable(write, &wanted));
                assert_eq!(write, plainer(wanted), "{bytes:02x?} {instruction}");
                seen.insert(instruction.mnemonic());
            }
            (Err(_), None) => {}
            (ours, theirs) => panic!("{bytes:02x?}: {ours:?}, reference {theirs:?}"),
        }
    }
    assert_eq!(seen.len(), 28, "{seen:?}");
}

#[test]
fn bytes_that_are_cut_short_are_no_instruction() {
    for bytes in candidates().take(50_000) {
        if let Ok(Privileged { length, .. }) = decode_privileged(&bytes, Mode::Long) {
            for short in 0..usize::from(length) {
                assert!(decode_privileged(&bytes[..short], Mode::Long).is_err());
            }
        }
        if let Ok(TableWrite { length, .. }) = decode_write(&bytes) {
            for short in 0..usize::from(length) {
                assert!(decode_write(&bytes[..short]).is_err());
            }
        }
    }
}

#[test]
fn sixteen_bytes_are_too_many() {
    let mut bytes = [0x2e; 16];
    bytes[14] = 0x0f;
    bytes[15] = 0x30;
    assert!(decode_privileged(&bytes, Mode::Long).is_err());
    let mut bytes = [0x2e; 15];
    bytes[13] = 0x0f;
    bytes[14] = 0x30;
    let decoded = decode_privileged(&bytes, Mode::Long).unwrap();
    assert_eq!((decoded.op, decoded.length), (PrivilegedOp::Wrmsr, 15));
}
