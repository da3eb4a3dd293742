//! Tests of the command line's parser.

use super::*;
use proptest::prelude::*;
use std::string::{String, ToString};
use std::vec::Vec;

fn parse(line: &str) -> (Config, Vec<String>) {
    let mut problems = Vec::new();
    let config = Config::parse(line.as_bytes(), |problem| {
        problems.push(problem.to_string())
    });
    (config, problems)
}

fn good(line: &str) -> Config {
    let (config, problems) = parse(line);
    assert_eq!(problems, [""; 0], "{line}");
    config
}

fn bad(line: &str) -> String {
    let (config, problems) = parse(line);
    assert_eq!(config, Config::default(), "{line}");
    assert_eq!(problems.len(), 1, "{line}: {problems:?}");
    problems.into_iter().next().unwrap()
}

fn mib(mib: u64) -> Option<Amount> {
    Some(Amount {
        all_but: false,
        bytes: mib << 20,
        percent: 0,
    })
}

#[test]
fn nothing() {
    assert_eq!(good(""), Config::default());
    assert_eq!(good("   "), Config::default());
    assert_eq!(good("placeholder no-real-mode edd=off"), Config::default());
}

#[test]
fn usual_line() {
    let config = good(
        "console=com1 dom0_mem=1024M,max:1024M com1=115200,8n1 loglvl=all guest_loglvl=all noreboot",
    );
    assert_eq!(
        config.console,
        Consoles {
            com1: true,
            com2: false,
            vga: false
        }
    );
    assert_eq!(
        config.dom0_memory,
        Dom0Memory {
            size: mib(1024),
            min: None,
            max: mib(1024)
        }
    );
    assert_eq!(
        config.com1,
        SerialPort {
            baud: Baud::Rate(115_200),
            ..SerialPort::COM1
        }
    );
    let all = Thresholds {
        always: LogLevel::Debug,
        limited: LogLevel::Debug,
    };
    assert_eq!((config.log, config.guest_log), (all, all));
    assert!(config.noreboot);
}

#[test]
fn serial_ports() {
    let port = good("com2=38400/1843200,7e2,0x3e8,5").com2;
    assert_eq!(
        port,
        SerialPort {
            baud: Baud::Rate(38_400),
            base_baud: 1_843_200,
            data_bits: 7,
            parity: Parity::Even,
            stop_bits: 2,
            io_base: 0x3e8,
            irq: 5,
        }
    );
    assert_eq!(good("com1=auto").com1, SerialPort::COM1);
    assert_eq!(
        good("com1=,,0x2f8").com1,
        SerialPort {
            io_base: 0x2f8,
            ..SerialPort::COM1
        }
    );
    assert_eq!(good("com1=auto,irq=0,parity=o").com1.parity, Parity::Odd);
    for line in [
        "com1=fast",
        "com1=0",
        "com1=9600,9n1",
        "com1=9600,8x1",
        "com1=9600,8n1,0",
        "com1=1,8n1,pci",
    ] {
        assert!(bad(line).starts_with("command line: com1="), "{line}");
    }
}

#[test]
fn dom0_memory() {
    let memory = |text: &str| good(&std::format!("dom0_mem={text}")).dom0_memory;
    assert_eq!(memory("524288").size, mib(512));
    assert_eq!(memory("512m").size, mib(512));
    assert_eq!(memory("0x200M").size, mib(512));
    assert_eq!(
        memory("4096B").size,
        Some(Amount {
            bytes: 4096,
            ..Amount::default()
        })
    );
    let (min, max) = (mib(256), mib(2048));
    assert_eq!(
        memory("min:256M,1G,max:2G"),
        Dom0Memory {
            size: mib(1024),
            min,
            max
        }
    );
    assert_eq!(
        memory("-1G").size.unwrap().frames(1 << 20),
        (1 << 20) - (1 << 18)
    );
    assert_eq!(
        memory("256M+10%").size.unwrap().frames(100_000),
        (256 << 8) + 10_000
    );
    assert_eq!(
        good("dom0_mem=1G dom0_mem=max:2G").dom0_memory.size,
        mib(1024)
    );
    for text in [
        "",
        "M",
        "1Q",
        "1G,",
        "min:",
        "100%",
        "1G+1G",
        "1G+",
        "--1G",
        "99999999999T",
    ] {
        let line = std::format!("dom0_mem={text}");
        assert!(
            parse(&line).1[0].starts_with("command line: dom0_mem="),
            "{line}"
        );
    }
}

#[test]
fn dom0_frames() {
    let frames = |text: &str, available| {
        let dom0 = good(&std::format!("dom0_mem={text}")).dom0_memory;
        dom0.frames(available)
            .map(|f| (f.initial, f.max))
            .map_err(|error| error.to_string())
    };
    const GIB: u64 = 1 << 18;
    assert_eq!(
        Config::default().dom0_memory.frames(GIB).unwrap().initial,
        GIB - GIB / 16
    );
    assert_eq!(
        Config::default()
            .dom0_memory
            .frames(16 * GIB)
            .unwrap()
            .initial,
        16 * GIB - GIB / 8
    );
    assert_eq!(frames("1G,max:1G", 2 * GIB), Ok((GIB, GIB)));
    assert_eq!(frames("-1G", 3 * GIB), Ok((2 * GIB, u64::MAX)));
    assert_eq!(frames("2G,max:1G", 3 * GIB), Ok((GIB, GIB)));
    assert_eq!(frames("512M,min:1G", 3 * GIB), Ok((GIB, u64::MAX)));
    assert_eq!(frames("8G,min:1G", 3 * GIB), Ok((3 * GIB, u64::MAX)));
    assert_eq!(
        frames("8G", 3 * GIB),
        Err("dom0_mem: 8388608 KiB asked for, 3145728 KiB available".into())
    );
    assert!(frames("8G,min:4G", 3 * GIB).is_err());
    assert!(frames("-8G", 3 * GIB).is_err());
}

#[test]
fn vcpus() {
    let range = |text: &str| good(&std::format!("dom0_max_vcpus={text}")).dom0_max_vcpus;
    assert_eq!([1, 4, 16].map(|cpus| range("2-8").vcpus(cpus)), [2, 4, 8]);
    assert_eq!([1, 4, 16].map(|cpus| range("4").vcpus(cpus)), [4, 4, 4]);
    assert_eq!([1, 4, 16].map(|cpus| range("-8").vcpus(cpus)), [1, 4, 8]);
    assert_eq!([1, 4, 16].map(|cpus| range("8-").vcpus(cpus)), [8, 8, 16]);
    for text in ["", "-", "0", "8-2", "two", "1-2-3"] {
        bad(&std::format!("dom0_max_vcpus={text}"));
    }
}

#[test]
fn log_levels() {
    let config = good("loglvl=info guest_loglvl=error/debug");
    assert_eq!(
        config.log,
        Thresholds {
            always: LogLevel::Info,
            limited: LogLevel::Info
        }
    );
    assert_eq!(
        config.guest_log,
        Thresholds {
            always: LogLevel::Error,
            limited: LogLevel::Debug
        }
    );
    assert_eq!(good("loglvl=debug/error").log.limited, LogLevel::Debug);
    bad("loglvl=loud");
    bad("loglvl=info/");
}

#[test]
fn booleans_and_the_rest() {
    assert!(!good("nosmp").smp);
    assert!(!good("no-smp").smp);
    assert!(!good("smp=off").smp);
    assert!(good("smp=off smp").smp);
    assert!(!good("noreboot noreboot=no").noreboot);
    assert_eq!(
        bad("smp=perhaps"),
        "command line: smp=\"perhaps\" is not a boolean (yes or no)"
    );
    assert_eq!(good("maxcpus=4").max_cpus, Some(4));
    assert!(!good("").watchdog && !good("").test_keys);
    assert!(good("watchdog").watchdog && good("watchdog=force").watchdog);
    assert!(!good("watchdog no-watchdog").watchdog);
    assert_eq!(good("watchdog").watchdog_timeout, 5);
    assert!(good("watchdog_timeout=9").watchdog);
    assert_eq!(good("watchdog_timeout=9").watchdog_timeout, 9);
    assert!(!good("watchdog watchdog_timeout=0").watchdog);
    bad("watchdog=x");
    bad("watchdog_timeout=x");
    assert!(good("test_keys").test_keys);
    bad("maxcpus=0");
    assert_eq!(
        good("clocksource=hpet").clock_source,
        Some(ClockSource::Hpet)
    );
    bad("clocksource=sundial");
    assert_eq!(good("sched=null").scheduler, Scheduler::Null);
    bad("sched=fifo");
    assert_eq!(
        good("vga=text-80x50,keep").vga,
        Vga {
            mode: VgaMode::Text { rows: 50 },
            keep: true
        }
    );
    let mode = VgaMode::Graphics {
        width: 1024,
        height: 768,
        depth: 32,
    };
    assert_eq!(good("vga=gfx-1024x768x32").vga, Vga { mode, keep: false });
    bad("vga=text-80x51");
    assert_eq!(
        good("console=none").console,
        Consoles {
            com1: false,
            com2: false,
            vga: false
        }
    );
    bad("console=tty0");
}

#[test]
fn unknown_options_by_name() {
    assert_eq!(
        parse("iommu=1 sync_console\x07").1,
        [
            "command line: unknown option \"iommu\"",
            "command line: unknown option \"sync_console\\x07\"",
        ]
    );
}

#[test]
fn dom0_arguments() {
    let line = b"noreboot --  root=/dev/sda1 -- x";
    assert_eq!(
        split_dom0_arguments(line),
        (&b"noreboot"[..], Some(&b"root=/dev/sda1 -- x"[..]))
    );
    assert_eq!(split_dom0_arguments(b"a--b"), (&b"a--b"[..], None));
    assert!(Config::parse(line, |problem| panic!("{problem}")).noreboot);
}

#[test]
fn grant_tables() {
    let parsed = |line: &str| {
        let grants = good(line).grants;
        (grants.max_version, grants.transitive)
    };
    assert_eq!(parsed(""), (2, true));
    assert_eq!(parsed("gnttab=max-ver:1"), (1, true));
    assert_eq!(parsed("gnttab=max_ver:1,no-transitive"), (1, false));
    assert_eq!(parsed("gnttab=transitive=off"), (2, false));
    // What one option does not say stays as another one said.
    assert_eq!(parsed("gnttab=no-transitive gnttab=max-ver:2"), (2, false));
    for line in [
        "gnttab=",
        "gnttab=max-ver:0",
        "gnttab=max-ver:3",
        "gnttab=max-ver:1,",
        "gnttab=transitive=perhaps",
    ] {
        bad(line);
    }
}

proptest! {
    #[test]
    fn never_panics(line in "([a-z0-9_]*=?[0-9a-zA-Z:,%+/-]* ?)*") {
        parse(&line);
    }

    #[test]
    fn values_never_panic(
        name in "console|com1|vga|dom0_mem|dom0_max_vcpus|loglvl|sched|clocksource|gnttab|smp|maxcpus|watchdog|watchdog_timeout|test_keys",
        value in proptest::collection::vec(any::<u8>(), 0..40),
        available in 1u64..1 << 40,
    ) {
        let mut line = name.into_bytes();
        line.push(b'=');
        line.extend(value);
        let config = Config::parse(&line, |problem| drop(problem.to_string()));
        let _ = config.dom0_memory.frames(available);
        config.dom0_max_vcpus.vcpus(4);
    }
}
