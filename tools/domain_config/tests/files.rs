//! Whole files: what they mean, what is wrong with them, and that printing loses nothing.

use std::fs;
use std::path::Path;

use domain_config::{Action, Boot, DomainConfig, Source, Unsupported, parse};
use proptest::prelude::*;

const FULL: &str = include_str!("full.cfg");

fn file(text: &str) -> Result<domain_config::Parsed, Vec<String>> {
    let name = "guest.cfg";
    parse(&[Source { name, text }])
        .map_err(|errors| errors.iter().map(ToString::to_string).collect())
}

#[test]
fn a_full_file() {
    let parsed = file(FULL).unwrap();
    let config = parsed.config;
    assert_eq!(config.name, "web1");
    assert_eq!((config.memory, config.maxmem), (128, 256));
    assert_eq!((config.vcpus, config.maxvcpus), (2, 4));
    assert_eq!(
        config.cmdline.as_deref(),
        Some("root=/dev/xvda ro console=hvc0")
    );
    assert_eq!(config.disks.len(), 2);
    assert_eq!(config.vifs.len(), 2);
    assert_eq!(config.on_crash, Action::Preserve);
    assert_eq!(config.cpu_weight, Some(512));
    assert_eq!(config.check_supported(), Ok(()));
    let warnings: Vec<String> = parsed.warnings.iter().map(ToString::to_string).collect();
    assert_eq!(
        warnings,
        ["guest.cfg:24:1: `colour` is not known and has no effect"]
    );
    assert_eq!(file(&config.to_text()).unwrap().config, config);
}

/// The printed form, and the JSON form with libxl's names, as Xen's `xl create -n` gives it for the same file.
/// `UPDATE_EXPECTED=1 cargo test -p domain_config` writes what is now.
#[test]
fn printed_forms() {
    let config = file(FULL).unwrap().config;
    let json = serde_json::to_string_pretty(&config.to_json()).unwrap();
    for (name, text) in [("full.printed.cfg", config.to_text()), ("full.json", json)] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests")
            .join(name);
        if std::env::var_os("UPDATE_EXPECTED").is_some() {
            fs::write(&path, &text).unwrap();
        }
        assert_eq!(text, fs::read_to_string(&path).unwrap(), "{name}");
    }
}

#[test]
fn the_command_line_wins() {
    let sources = [
        Source {
            name: "a.cfg",
            text: "name='a'\nkernel='/k'\nextra='x'\ndisk=['/d,raw,xvda']",
        },
        Source {
            name: "command line",
            text: "name=\"b\"; extra += ' y'\ndisk += ['/e,raw,xvdb']",
        },
    ];
    let config = parse(&sources).unwrap().config;
    assert_eq!(config.name, "b");
    assert_eq!(config.cmdline.as_deref(), Some("x y"));
    assert_eq!(config.disks.len(), 2);
}

#[test]
fn all_errors_at_once() {
    let errors = file(
        "memory = '3g'\nvcpus = 0\ndisk = ['/a,raw,foo',\n 'x']\ncpus='a'\non_crash='explode'\nextra=[]\n",
    );
    assert_eq!(
        errors,
        Err(vec![
            "guest.cfg:1:1: the domain has no name: `name` is not set".to_owned(),
            "guest.cfg:1:10: `memory`: `3g` is not a number".to_owned(),
            "guest.cfg:2:9: `vcpus` is 0; it can be 1 to 8192".to_owned(),
            "guest.cfg:5:6: `cpus`: `a` is not a set of CPUs, such as `all`, `3`, `0-3,6` or `0-7,^3`".to_owned(),
            "guest.cfg:7:7: `extra` is a string, not a list".to_owned(),
            "guest.cfg:3:9: `disk`: `foo` is not a disk's name, such as xvda, sda1 or hdc".to_owned(),
            "guest.cfg:4:2: `disk`: the disk has no name (vdev), such as xvda".to_owned(),
            "guest.cfg:6:10: `on_crash` cannot be `explode`; it can be destroy, restart, rename-restart, preserve, coredump-destroy, coredump-restart, soft-reset".to_owned(),
        ])
    );
}

#[test]
fn contradictions() {
    for (text, error) in [
        (
            "name='a'\nmemory=64\nmaxmem=32",
            "guest.cfg:3:8: `maxmem` is 32 MiB, less than `memory`, which is 64 MiB",
        ),
        (
            "name='a'\nvcpus=4\nmaxvcpus=2",
            "guest.cfg:3:10: `maxvcpus` is 2, less than `vcpus`, which is 4",
        ),
        (
            "name='a'\nkernel='k'\nbootloader='b'",
            "guest.cfg:3:12: both `kernel` and `bootloader` are set",
        ),
        (
            "name='a'\ndisk=['/a,raw,xvda','/b,raw,xvda']",
            "guest.cfg:2:6: two disks are called xvda",
        ),
        (
            "name='a b'",
            "guest.cfg:1:6: `name` may not have blanks, slashes or control characters",
        ),
        (
            "name='12'",
            "guest.cfg:1:6: `name` is a number, which would be taken for a domain's number",
        ),
        ("name=''", "guest.cfg:1:6: `name` is empty"),
        (
            "name='a'\npci=['01:00.0']",
            "guest.cfg:2:5: `pci`: passing devices through cannot be had yet",
        ),
        (
            "name='a'\ncpus=['0','1']",
            "guest.cfg:2:6: `cpus` has 2 sets, but there are 1 vCPUs",
        ),
        (
            "name='a'\nname+=[1]",
            "guest.cfg:2:1: `name` cannot be added to: the value before is of another kind, or a number",
        ),
        (
            "name='a'\nuuid='x'",
            "guest.cfg:2:6: `uuid` is `x`: a UUID is 32 hexadecimal digits, as in 7cd2be44-9d36-426f-aca0-80874230b342",
        ),
    ] {
        assert_eq!(file(text), Err(vec![error.to_owned()]), "{text}");
    }
}

#[test]
fn what_cannot_be_made() {
    let config = |text: &str| file(text).unwrap().config;
    assert_eq!(
        config("name='a'").check_supported(),
        Err(Unsupported::NoKernel)
    );
    let hvm = config("name='a'\nbuilder='hvm'")
        .check_supported()
        .unwrap_err();
    assert_eq!(
        hvm.to_string(),
        "domains of type `hvm` cannot be made yet: only type=\"pv\""
    );
    assert!(
        config("name='a'\ntype='pvh'\nkernel='k'")
            .check_supported()
            .is_err()
    );
    let pygrub = config("name='a'\nbootloader='pygrub'\nbootloader_args=['-q','x']");
    let Boot::Bootloader { arguments, .. } = &pygrub.boot else {
        panic!("no bootloader");
    };
    assert_eq!(arguments, &["-q", "x"]);
    assert_eq!(file(&pygrub.to_text()).unwrap().config, pygrub);
}

fn words() -> impl Strategy<Value = String> {
    let word = prop_oneof![
        Just("name="),
        Just("'a'"),
        Just("\"b"),
        Just("disk"),
        Just("="),
        Just("+="),
        Just("["),
        Just("]"),
        Just(","),
        Just("\n"),
        Just(";"),
        Just("#"),
        Just("memory=1"),
        Just("'x,raw,xvda'"),
        Just("\\"),
        Just("0x"),
        Just("-1"),
        Just(" "),
        Just("é"),
        Just("vif=['mac=00:16:3e:0:0:1']"),
        Just("cpus='0-3,^1'"),
        Just("uuid="),
        Just("kernel="),
    ];
    prop::collection::vec(word, 0..24).prop_map(|words| words.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// Nothing that a file says panics, and each error has a place in the file.
    #[test]
    fn any_text(text in prop_oneof![words(), ".{0,80}", "[a-z=\\[\\]'\", 0-9\n]{0,120}"]) {
        if let Err(errors) = parse(&[Source { name: "f", text: &text }]) {
            prop_assert!(!errors.is_empty());
            let lines = text.split('\n').count() as u32;
            for error in errors {
                prop_assert!(error.place.line >= 1 && error.place.line <= lines.max(1));
                prop_assert!(error.place.column >= 1);
            }
        }
    }

    /// What is printed is read as the same again.
    #[test]
    fn printing_loses_nothing(
        name in "[a-zA-Z_.-][a-zA-Z0-9_.-]{0,20}",
        memory in 1_u64..100_000,
        more in 0_u64..100_000,
        vcpus in 1_u32..64,
        cmdline in prop::option::of("[^\0]{0,60}"),
        target in "/[a-z,= ]{0,20}[a-z]",
        weight in prop::option::of(1_u16..),
    ) {
        let mut config = DomainConfig::new(&name);
        config.memory = memory;
        config.maxmem = memory + more;
        config.vcpus = vcpus;
        config.maxvcpus = vcpus;
        config.cmdline = cmdline;
        config.cpu_weight = weight;
        config.boot = Boot::Kernel { kernel: target.clone(), ramdisk: Some(target.clone()) };
        config.disks.push(format!("vdev=xvda,target={target}").parse().unwrap());
        config.vifs.push("bridge=xenbr0,rate=333Kb/s@7ms".parse().unwrap());
        let text = config.to_text();
        let again = file(&text);
        prop_assert_eq!(again.map(|parsed| parsed.config), Ok(config), "{}", text);
    }
}
