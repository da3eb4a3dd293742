//! The comparison, and tests that it can fail.

use std::fmt::Write as _;
use std::mem::offset_of;
use std::path::Path;
use std::process::Command;

use xen_abi::io::ring::RingHeader;

#[path = "../src/extract.rs"]
mod extract;

/// What the C program's own lines say.
fn own_expectations() -> Vec<(&'static str, i128)> {
    vec![
        ("DomId size", size_of::<xen_abi::DomId>() as i128),
        ("EvtchnPort size", size_of::<xen_abi::EvtchnPort>() as i128),
        ("GrantRef size", size_of::<xen_abi::GrantRef>() as i128),
        (
            "GrantHandle size",
            size_of::<xen_abi::GrantHandle>() as i128,
        ),
        ("XenPfn size", size_of::<xen_abi::XenPfn>() as i128),
        ("IoServerId size", size_of::<xen_abi::IoServerId>() as i128),
        (
            "GuestHandle size",
            size_of::<xen_abi::GuestHandle<u64>>() as i128,
        ),
        (
            "GuestHandle alignment",
            align_of::<xen_abi::GuestHandle<u64>>() as i128,
        ),
        ("RingHeader size", size_of::<RingHeader>() as i128),
        (
            "RingHeader.rsp_event offset",
            offset_of!(RingHeader, rsp_event) as i128,
        ),
        ("RingHeader.pvt offset", offset_of!(RingHeader, pvt) as i128),
        (
            "RingHeader.padding offset",
            offset_of!(RingHeader, padding) as i128,
        ),
    ]
}

#[test]
fn rust_and_c_agree() {
    assert!(
        Path::new("/usr/include/xen/xen.h").exists(),
        "Xen's public headers are missing; install them with: apt-get install libxen-dev"
    );
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let program = directory.join(format!("abi_layout_{}", std::process::id()));
    let compiled = Command::new("gcc")
        .args(["-std=gnu99", "-O0", "-w", "-o"])
        .arg(&program)
        .arg(abi_layout::C_PROGRAM)
        .output()
        .expect("gcc does not start; install it with: apt-get install gcc libc6-dev");
    assert!(
        compiled.status.success(),
        "the C program does not compile: a C name in xen_abi is wrong, or libxen-dev is not that of Xen 4.17\n{}",
        String::from_utf8_lossy(&compiled.stderr)
    );
    let run = Command::new(&program).output().expect("the program starts");
    std::fs::remove_file(&program).expect("the program was there");
    assert!(run.status.success(), "the C program failed: {}", run.status);
    let c = String::from_utf8(run.stdout).expect("the program prints ASCII");

    let mut rust = String::new();
    let own = own_expectations();
    for (key, value) in abi_layout::EXPECTATIONS
        .iter()
        .copied()
        .flatten()
        .chain(&own)
    {
        writeln!(rust, "{key}: {value}").expect("strings grow");
    }
    let differences = abi_layout::differences(&rust, &c);
    assert!(
        differences.is_empty(),
        "xen_abi differs from the headers:\n{}",
        differences.join("\n")
    );
    // A parser that finds nothing would agree with everything.
    let count = rust.lines().count();
    println!("{count} sizes, alignments, offsets and values agree");
    assert!(count > 5000, "only {count} values were compared");
}

#[test]
fn differences_are_found() {
    let found = abi_layout::differences("a: 1\nb: 2\nc: 3\n", "a: 1\nb: 4\nd: 5\n");
    assert_eq!(
        found,
        [
            "b: Rust has 2, C has 4",
            "c: C's program did not print it",
            "d: only C's program printed it",
        ]
    );
}

#[test]
fn items_outside_of_the_check_are_errors() {
    for (source, message) in [
        (
            "pub struct Forgotten { pub a: u32 }",
            "structure Forgotten has no",
        ),
        (
            "pub const FORGOTTEN: u32 = 1;",
            "constant FORGOTTEN is not in",
        ),
        ("pub enum Forgotten { A }", "enum Forgotten"),
        ("hidden! { }", "macro hidden! is not known"),
        ("pub static FORGOTTEN: u32 = 1;", "not understood"),
        ("pub mod forgotten { }", "not understood"),
        ("constants! { u32; A = 1 }", "constants!"),
    ] {
        let error = extract::extract("module", source).expect_err(source);
        assert!(error.contains(message), "{source}: {error}");
    }
}

#[test]
fn items_are_extracted() {
    let interface = extract::extract(
        "module",
        "#[doc(alias = \"xen_a\")] pub struct A { #[doc(alias = \"type\")] pub kind: u8, pub _hole0: [u8; 3], pub b: u32 }
         constants! { u32; /// Doc.\n ONE = 1 << 0, \"XEN_one\"; TWO = 2; }
         union! { /// Doc.\n U: [u64; 2], \"xen_a.u\" { first: u32, #[doc(alias = \"Second\")] second: A, } }",
    )
    .expect("the source is well-formed");
    let [record, union] = &interface.records[..] else {
        panic!("{:?}", interface.records);
    };
    assert_eq!(record.c_type, "struct xen_a");
    assert_eq!(
        record.fields,
        [field("kind", "u8", "type"), field("b", "u32", "b")]
    );
    assert_eq!(union.c_type, "__typeof__(((struct xen_a *)0)->u)");
    assert_eq!(
        union.members,
        [
            field("first", "u32", "first"),
            field("second", "A", "Second")
        ]
    );
    let names: Vec<_> = interface
        .constants
        .iter()
        .map(|constant| constant.c_name.as_str())
        .collect();
    assert_eq!(names, ["XEN_one", "TWO"]);
    assert_eq!(interface.constants[0].value, "ONE");
}

fn field(name: &str, ty: &str, c_name: &str) -> extract::Field {
    extract::Field {
        name: name.to_owned(),
        ty: ty.to_owned(),
        c_name: c_name.to_owned(),
    }
}
