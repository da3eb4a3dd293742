//! A domain's nodes in xenstore, as libxl writes them: what guests read, and what other tools look for.
//!
//! Source: Xen's `docs/misc/xenstore-paths.pandoc`; a recorded `xenstore-ls -p` of Xen 4.17.

use domain_config::{Boot, DomainConfig, Uuid};
use xen_control::{DomId, EvtchnPort};
use xenstore::wire::Operation;

/// Requests that are sent together.
pub(crate) type Requests = Vec<(Operation, Vec<u8>)>;

/// Who may do what with a node and, unless told otherwise, those below.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Owner {
    /// Domain 0's; the guest may read.
    GuestReads(DomId),
    /// The guest's own.
    Guest(DomId),
    /// The guest's own; domain 0's back end may read, as everybody privileged.
    GuestShownTo(DomId, DomId),
    /// Only domain 0's.
    Control,
}

/// Adds a write.
pub(crate) fn write(requests: &mut Requests, path: &str, value: &str) {
    let mut payload = Vec::with_capacity(path.len() + value.len() + 1);
    payload.extend_from_slice(path.as_bytes());
    payload.push(0);
    payload.extend_from_slice(value.as_bytes());
    requests.push((Operation::Write, payload));
}

/// Adds a node with an owner.
pub(crate) fn owned(requests: &mut Requests, path: &str, value: &str, owner: Owner) {
    write(requests, path, value);
    let permissions = match owner {
        Owner::GuestReads(guest) => format!("n0\0r{guest}\0"),
        Owner::Guest(guest) => format!("n{guest}\0"),
        Owner::GuestShownTo(guest, backend) => format!("n{guest}\0r{backend}\0"),
        Owner::Control => "n0\0".to_owned(),
    };
    let payload = format!("{path}\0{permissions}").into_bytes();
    requests.push((Operation::SetPermissions, payload));
}

/// Adds a removal.
pub(crate) fn remove(requests: &mut Requests, path: &str) {
    requests.push((Operation::Remove, format!("{path}\0").into_bytes()));
}

/// What is known of a domain once it is built.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NewDomainNodes<'a> {
    pub(crate) domain: DomId,
    pub(crate) uuid: Uuid,
    pub(crate) config: &'a DomainConfig,
    pub(crate) store: (u64, EvtchnPort),
    pub(crate) console: (u64, EvtchnPort),
    /// Seconds since 1970, as text.
    pub(crate) start_time: &'a str,
}

impl NewDomainNodes<'_> {
    /// Everything but devices; the last request tells xenstored of the domain.
    pub(crate) fn requests(&self) -> Requests {
        let Self {
            domain,
            uuid,
            config,
            ..
        } = *self;
        let home = format!("/local/domain/{domain}");
        let vm = format!("/vm/{uuid}");
        let libxl = format!("/libxl/{domain}");
        let mut all = Requests::new();
        // Of an earlier domain of this number there may be something left.
        remove(&mut all, &home);
        remove(&mut all, &libxl);

        owned(&mut all, &vm, "", Owner::GuestReads(domain));
        let at = |all: &mut Requests, name: &str, value: &str| {
            write(all, &format!("{vm}/{name}"), value);
        };
        at(&mut all, "name", &config.name);
        at(&mut all, "uuid", &uuid.to_string());
        at(&mut all, "image/ostype", "linux");
        if let Boot::Kernel { kernel, ramdisk } = &config.boot {
            at(&mut all, "image/kernel", kernel);
            if let Some(ramdisk) = ramdisk {
                at(&mut all, "image/ramdisk", ramdisk);
            }
        }
        at(
            &mut all,
            "image/cmdline",
            config.cmdline.as_deref().unwrap_or_default(),
        );
        at(&mut all, "start_time", self.start_time);

        owned(&mut all, &home, "", Owner::GuestReads(domain));
        let at = |all: &mut Requests, name: &str, value: &str| {
            write(all, &format!("{home}/{name}"), value);
        };
        at(&mut all, "vm", &vm);
        at(&mut all, "name", &config.name);
        at(&mut all, "domid", &domain.to_string());
        for vcpu in 0..config.maxvcpus {
            let state = if vcpu < config.vcpus {
                "online"
            } else {
                "offline"
            };
            at(&mut all, &format!("cpu/{vcpu}/availability"), state);
        }
        let kib = |mib: u64| (mib * 1024).to_string();
        at(&mut all, "memory/static-max", &kib(config.maxmem));
        at(&mut all, "memory/target", &kib(config.memory));
        at(&mut all, "memory/videoram", "0");
        at(&mut all, "device", "");
        at(
            &mut all,
            "control/platform-feature-multiprocessor-suspend",
            "1",
        );
        at(&mut all, "control/platform-feature-xs_reset_watches", "1");
        at(&mut all, "store/port", &self.store.1.to_string());
        at(&mut all, "store/ring-ref", &self.store.0.to_string());
        self.console(&mut all, &home, &libxl);
        for name in [
            "attr",
            "control/shutdown",
            "control/feature-poweroff",
            "control/feature-reboot",
            "control/feature-suspend",
            "control/sysrq",
            "data",
            "device/suspend/event-channel",
            "drivers",
            "error",
            "feature",
        ] {
            owned(
                &mut all,
                &format!("{home}/{name}"),
                "",
                Owner::Guest(domain),
            );
        }
        owned(&mut all, &libxl, "", Owner::Control);
        write(&mut all, &format!("{libxl}/type"), config.kind.name());
        write(&mut all, &format!("{libxl}/dm-version"), "qemu_xen");
        let introduction = format!("{domain}\0{}\0{}\0", self.store.0, self.store.1);
        all.push((Operation::Introduce, introduction.into_bytes()));
        all
    }

    fn console(&self, all: &mut Requests, home: &str, libxl: &str) {
        let domain = self.domain;
        let frontend = format!("{home}/console");
        let backend = format!("/local/domain/0/backend/console/{domain}/0");
        for (name, value) in [
            ("backend", backend.as_str()),
            ("backend-id", "0"),
            ("limit", "1048576"),
            ("type", "xenconsoled"),
            ("output", "pty"),
            ("tty", ""),
            ("port", &self.console.1.to_string()),
            ("ring-ref", &self.console.0.to_string()),
        ] {
            write(all, &format!("{frontend}/{name}"), value);
        }
        let number = domain.to_string();
        let facts = [
            ("frontend", frontend.as_str()),
            ("frontend-id", &number),
            ("online", "1"),
            ("state", "1"),
            ("protocol", "vt100"),
        ];
        owned(all, &backend, "", Owner::GuestReads(domain));
        for (name, value) in facts {
            write(all, &format!("{backend}/{name}"), value);
        }
        let libxl = format!("{libxl}/device/console/0");
        write(all, &format!("{libxl}/backend"), &backend);
        for (name, value) in facts {
            write(all, &format!("{libxl}/{name}"), value);
        }
    }
}

/// Removes everything of a domain but its back ends.
pub(crate) fn removal(domain: DomId, uuid: Uuid) -> Requests {
    let mut all = Requests::new();
    remove(&mut all, &format!("/local/domain/{domain}"));
    if uuid != Uuid::NIL {
        remove(&mut all, &format!("/vm/{uuid}"));
    }
    remove(&mut all, &format!("/libxl/{domain}"));
    remove(
        &mut all,
        &format!("/local/domain/0/backend/console/{domain}"),
    );
    all.push((Operation::Release, format!("{domain}\0").into_bytes()));
    all
}
