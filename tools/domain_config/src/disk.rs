//! Disk specifications, `xl-disk-configuration(5)`.
//!
//! `TARGET, FORMAT, VDEV, ACCESS` by position and `key=value` in any order, separated by commas; `target=` is
//! last and takes the rest. Older forms (`phy:PATH,xvda,w`) begin with a prefix.

use std::fmt;
use std::str::FromStr;

/// A guest's name for a disk, and the number that stands for it in xenstore.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VirtualDevice {
    /// `xvda`, `sda1` …
    pub name: String,
    /// The number.
    pub number: u32,
}

/// The names of a kind of disk: prefix, major number and so on by `xen-vbd-interface(7)`.
fn device_number(name: &str) -> Option<u32> {
    if name.bytes().all(|byte| byte.is_ascii_digit()) && !name.is_empty() {
        return name.parse().ok();
    }
    if let Some(rest) = name.strip_prefix('d')
        && rest.starts_with(|first: char| first.is_ascii_digit())
    {
        let (disk, partition) = rest.split_once('p').unwrap_or((rest, "0"));
        return xvd(number(disk)?, number(partition)?);
    }
    let (prefix, rest) = name.split_at_checked(match name {
        _ if name.starts_with("xvd") => 3,
        _ if name.starts_with("hd") || name.starts_with("sd") => 2,
        _ => return None,
    })?;
    let letters = rest.bytes().take_while(u8::is_ascii_lowercase).count();
    let (letters, digits) = rest.split_at_checked(letters)?;
    if letters.is_empty() || letters.len() > 4 {
        return None;
    }
    // a is 0, z is 25, aa is 26.
    let disk = letters
        .bytes()
        .fold(0, |disk, letter| disk * 26 + u32::from(letter - b'a') + 1)
        - 1;
    let partition = if digits.is_empty() {
        0
    } else {
        number(digits)?
    };
    match prefix {
        "xvd" => xvd(disk, partition),
        "hd" if disk < 2 && partition < 64 => Some(3 << 8 | disk << 6 | partition),
        "hd" if disk < 4 && partition < 64 => Some(22 << 8 | (disk - 2) << 6 | partition),
        "sd" if disk < 16 && partition < 16 => Some(8 << 8 | disk << 4 | partition),
        _ => None,
    }
}

fn number(digits: &str) -> Option<u32> {
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    digits.parse().ok().filter(|_| is_number)
}

fn xvd(disk: u32, partition: u32) -> Option<u32> {
    if disk < 16 && partition < 16 {
        Some(202 << 8 | disk << 4 | partition)
    } else if disk < 1 << 20 && partition < 256 {
        Some(1 << 28 | disk << 8 | partition)
    } else {
        None
    }
}

impl FromStr for VirtualDevice {
    type Err = InvalidDisk;

    fn from_str(name: &str) -> Result<Self, InvalidDisk> {
        let number = device_number(name).ok_or_else(|| {
            InvalidDisk(format!(
                "`{name}` is not a disk's name, such as xvda, sda1 or hdc"
            ))
        })?;
        Ok(Self {
            name: name.to_owned(),
            number,
        })
    }
}

/// How a disk's content is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// As it is.
    Raw,
    /// QEMU's older format.
    Qcow,
    /// QEMU's format.
    Qcow2,
    /// Virtual PC's format.
    Vhd,
    /// QEMU's enhanced disk.
    Qed,
}

impl Format {
    const NAMES: [(&str, Self); 6] = [
        ("raw", Self::Raw),
        ("qcow", Self::Qcow),
        ("qcow2", Self::Qcow2),
        ("vhd", Self::Vhd),
        ("qed", Self::Qed),
        ("aio", Self::Raw),
    ];

    /// The format's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Qcow => "qcow",
            Self::Qcow2 => "qcow2",
            Self::Vhd => "vhd",
            Self::Qed => "qed",
        }
    }
}

/// What a guest may do with a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Read only.
    ReadOnly,
    /// Read and write.
    ReadWrite,
}

/// What serves a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BackendType {
    /// The kernel's back end, on a block device.
    Phy,
    /// A program.
    Qdisk,
    /// blktap, which no longer exists.
    Tap,
}

/// A disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disk {
    /// The file or device; with a script, whatever the script takes. None in an empty drive.
    pub target: Option<String>,
    /// How it is stored.
    pub format: Format,
    /// What the guest calls it.
    pub device: VirtualDevice,
    /// What the guest may do.
    pub access: Access,
    /// Whether it is a CD drive.
    pub is_cdrom: bool,
    /// The domain that serves it; none is domain 0.
    pub backend: Option<String>,
    /// What serves it, if told.
    pub backend_type: Option<BackendType>,
    /// The script that sets it up.
    pub script: Option<String>,
    /// Whether discarded blocks are given back, if told.
    pub discard: Option<bool>,
    /// Whether the host's cache can be circumvented safely.
    pub direct_io_safe: bool,
}

/// What is wrong with a disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidDisk(pub String);

impl fmt::Display for InvalidDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for InvalidDisk {}

/// What was said so far.
#[derive(Default)]
struct Draft {
    target: Option<String>,
    format: Option<Format>,
    device: Option<VirtualDevice>,
    access: Option<Access>,
    is_cdrom: bool,
    backend: Option<String>,
    backend_type: Option<BackendType>,
    script: Option<String>,
    discard: Option<bool>,
    direct_io_safe: bool,
}

fn once<T>(slot: &mut Option<T>, what: &str, value: T) -> Result<(), InvalidDisk> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(InvalidDisk(format!("the disk's {what} is given twice"))),
    }
}

fn one_of<T: Copy>(what: &str, word: &str, names: &[(&str, T)]) -> Result<T, InvalidDisk> {
    let found = names.iter().find(|(name, _)| *name == word);
    found.map(|(_, value)| *value).ok_or_else(|| {
        let names: Vec<&str> = names.iter().map(|(name, _)| *name).collect();
        InvalidDisk(format!(
            "a disk's {what} cannot be `{word}`; it can be {}",
            names.join(", ")
        ))
    })
}

const ACCESS: [(&str, Access); 4] = [
    ("r", Access::ReadOnly),
    ("ro", Access::ReadOnly),
    ("w", Access::ReadWrite),
    ("rw", Access::ReadWrite),
];

impl Draft {
    fn set(&mut self, key: &str, value: &str) -> Result<(), InvalidDisk> {
        match key {
            "format" => once(
                &mut self.format,
                "format",
                one_of("format", value, &Format::NAMES)?,
            ),
            "vdev" => {
                let device = match value.strip_suffix(":cdrom") {
                    Some(device) => {
                        self.is_cdrom = true;
                        device
                    }
                    None => value,
                };
                once(&mut self.device, "name (vdev)", device.parse()?)
            }
            "access" => once(
                &mut self.access,
                "access",
                one_of("access", value, &ACCESS)?,
            ),
            "devtype" => {
                self.is_cdrom = one_of("devtype", value, &[("disk", false), ("cdrom", true)])?;
                Ok(())
            }
            "backend" => once(&mut self.backend, "backend", value.to_owned()),
            "backendtype" => {
                let types = [
                    ("phy", BackendType::Phy),
                    ("qdisk", BackendType::Qdisk),
                    ("tap", BackendType::Tap),
                ];
                once(
                    &mut self.backend_type,
                    "backendtype",
                    one_of("backendtype", value, &types)?,
                )
            }
            "script" => once(&mut self.script, "script", value.to_owned()),
            "specification" if value == "xen" => Ok(()),
            "specification" => Err(InvalidDisk(format!(
                "disks of specification `{value}` do not exist here, only `xen`"
            ))),
            _ => Err(InvalidDisk(format!("a disk has no `{key}=`"))),
        }
    }

    /// A word without `=`, if it is one of those; else it counts by its position.
    fn flag(&mut self, word: &str) -> bool {
        match word {
            "cdrom" => self.is_cdrom = true,
            "discard" => self.discard = Some(true),
            "no-discard" => self.discard = Some(false),
            "direct-io-safe" => self.direct_io_safe = true,
            _ => return false,
        }
        true
    }

    /// What an older form's prefix says; gives what follows it.
    fn prefix<'a>(&mut self, text: &'a str) -> Result<(&'a str, bool), InvalidDisk> {
        let Some((prefix, rest)) = text.split_once(':') else {
            return Ok((text, false));
        };
        match prefix {
            "phy" => {
                once(&mut self.format, "format", Format::Raw)?;
                once(&mut self.backend_type, "backendtype", BackendType::Phy)?;
                Ok((rest, true))
            }
            "file" => {
                once(&mut self.format, "format", Format::Raw)?;
                Ok((rest, true))
            }
            "tap" | "tap2" | "aio" | "ioemu" | "tapdisk" => {
                let (rest, _) = self.prefix(rest)?;
                Ok((rest, true))
            }
            "raw" | "qcow" | "qcow2" | "vhd" | "qed" => {
                let format = one_of("format", prefix, &Format::NAMES)?;
                once(&mut self.format, "format", format)?;
                Ok((rest, true))
            }
            "iscsi" | "nbd" | "enbd" | "drbd" => {
                once(&mut self.script, "script", format!("block-{prefix}"))?;
                Ok((rest, true))
            }
            _ => Ok((text, false)),
        }
    }

    fn finish(self) -> Result<Disk, InvalidDisk> {
        let missing = |what: &str| InvalidDisk(format!("the disk has no {what}"));
        let device = self
            .device
            .ok_or_else(|| missing("name (vdev), such as xvda"))?;
        let target = self.target.filter(|target| !target.is_empty());
        if target.is_none() && !self.is_cdrom {
            return Err(missing("target"));
        }
        let access = match (self.access, self.is_cdrom) {
            (Some(Access::ReadWrite), true) | (None, true) | (Some(Access::ReadOnly), _) => {
                Access::ReadOnly
            }
            _ => Access::ReadWrite,
        };
        Ok(Disk {
            target,
            format: self.format.unwrap_or(Format::Raw),
            device,
            access,
            is_cdrom: self.is_cdrom,
            backend: self.backend,
            backend_type: self.backend_type,
            script: self.script,
            discard: self.discard,
            direct_io_safe: self.direct_io_safe,
        })
    }
}

impl FromStr for Disk {
    type Err = InvalidDisk;

    fn from_str(text: &str) -> Result<Self, InvalidDisk> {
        let mut draft = Draft::default();
        let (mut rest, is_older) = draft.prefix(text.trim())?;
        // In older forms there is no place for a format: what was target, name, access.
        let mut positions = if is_older {
            ["target", "vdev", "access"].iter()
        } else {
            ["target", "format", "vdev", "access"].iter()
        };
        loop {
            let trimmed = rest.trim_start();
            if let Some(target) = trimmed.strip_prefix("target=") {
                once(&mut draft.target, "target", target.to_owned())?;
                break;
            }
            let (word, after) = match rest.split_once(',') {
                Some((word, after)) => (word.trim(), Some(after)),
                None => (rest.trim(), None),
            };
            let key_value = word.split_once('=').filter(|(key, _)| {
                key.bytes().all(|byte| byte.is_ascii_lowercase()) && !key.is_empty()
            });
            if let Some((key, value)) = key_value {
                draft.set(key, value)?;
            } else if !draft.flag(word) {
                match positions.next() {
                    // A target that was told by `target=` cannot be told by position as well.
                    Some(&"target") => once(&mut draft.target, "target", word.to_owned())?,
                    Some(_) if word.is_empty() => {}
                    Some(key) => draft.set(key, word)?,
                    None => {
                        return Err(InvalidDisk(format!(
                            "`{word}` is one word too many for a disk"
                        )));
                    }
                }
            }
            match after {
                Some(after) => rest = after,
                None => break,
            }
        }
        draft.finish()
    }
}

impl fmt::Display for Disk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let access = match self.access {
            Access::ReadOnly => "ro",
            Access::ReadWrite => "rw",
        };
        write!(
            f,
            "format={},vdev={},access={access}",
            self.format.name(),
            self.device.name
        )?;
        if self.is_cdrom {
            f.write_str(",devtype=cdrom")?;
        }
        if let Some(backend) = &self.backend {
            write!(f, ",backend={backend}")?;
        }
        match self.backend_type {
            Some(BackendType::Phy) => f.write_str(",backendtype=phy")?,
            Some(BackendType::Qdisk) => f.write_str(",backendtype=qdisk")?,
            Some(BackendType::Tap) => f.write_str(",backendtype=tap")?,
            None => {}
        }
        if let Some(script) = &self.script {
            write!(f, ",script={script}")?;
        }
        match self.discard {
            Some(true) => f.write_str(",discard")?,
            Some(false) => f.write_str(",no-discard")?,
            None => {}
        }
        if self.direct_io_safe {
            f.write_str(",direct-io-safe")?;
        }
        if let Some(target) = &self.target {
            write!(f, ",target={target}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{Access, Disk, Format, VirtualDevice};

    fn disk(text: &str) -> Disk {
        text.parse()
            .unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    /// The examples of xl-disk-configuration(5), and what they mean.
    #[test]
    fn examples_of_the_manual() {
        let full = disk("format=raw, vdev=hda, access=rw, target=/dev/vg/guest-volume");
        for same in [
            "/dev/vg/guest-volume,raw,hda,rw",
            "/dev/vg/guest-volume,,hda",
            "raw:/dev/vg/guest-volume,hda,w",
            "file:/dev/vg/guest-volume,hda,w",
        ] {
            assert_eq!(disk(same), full, "{same}");
        }
        let cd = disk("format=raw, vdev=hdc, access=ro, devtype=cdrom, target=/root/image.iso");
        assert_eq!(disk("/root/image.iso,,hdc,cdrom"), cd);
        assert_eq!(disk("/root/image.iso,raw,hdc:cdrom,r"), cd);
        assert_eq!(disk("vdev=hdc,cdrom").target, None);
        let odd = disk("vdev=xvda,target=/a,b=c,d");
        assert_eq!(odd.target.as_deref(), Some("/a,b=c,d"));
        let qcow = disk("tap:qcow2:/x,xvdb,r");
        assert_eq!(
            (qcow.format, qcow.access),
            (Format::Qcow2, Access::ReadOnly)
        );
        assert_eq!(
            disk("iscsi:iqn.1:x,xvda,w").script.as_deref(),
            Some("block-iscsi")
        );
    }

    #[test]
    fn printing_and_parsing() {
        for text in [
            "/dev/vg/a,,xvda",
            "phy:/dev/vg/a,xvda1,r",
            "vdev=hdc,cdrom",
            "script=block-x,vdev=xvdz,direct-io-safe,no-discard,backend=3,target=a,b",
        ] {
            let first = disk(text);
            assert_eq!(disk(&first.to_string()), first, "{text}");
        }
    }

    #[test]
    fn errors() {
        for (text, error) in [
            ("", "the disk has no name (vdev), such as xvda"),
            ("/a,raw", "the disk has no name (vdev), such as xvda"),
            (",raw,xvda", "the disk has no target"),
            (
                "/a,raw,xvda,x",
                "a disk's access cannot be `x`; it can be r, ro, w, rw",
            ),
            ("/a,raw,xvda,r,q", "`q` is one word too many for a disk"),
            (
                "/a,raw,foo",
                "`foo` is not a disk's name, such as xvda, sda1 or hdc",
            ),
            (
                "/a,vmdk,xvda",
                "a disk's format cannot be `vmdk`; it can be raw, qcow, qcow2, vhd, qed, aio",
            ),
            (
                "/a,raw,xvda,vdev=xvdb",
                "the disk's name (vdev) is given twice",
            ),
            ("/a,vdev=xvdb,colour=red", "a disk has no `colour=`"),
            ("/a,vdev=xvdb,target=/b", "the disk's target is given twice"),
        ] {
            assert_eq!(
                text.parse::<Disk>().map_err(|error| error.0),
                Err(error.to_owned()),
                "{text}"
            );
        }
    }

    /// The table of xen-vbd-interface(7).
    #[test]
    fn device_numbers() {
        for (name, number) in [
            ("xvda", 51712),
            ("xvdb1", 51729),
            ("xvdp15", 51967),
            ("xvdq", 268_439_552),
            ("xvda16", 268_435_472),
            ("xvdaa", 268_435_456 + (26 << 8)),
            ("d0p1", 51713),
            ("hda", 768),
            ("hdb2", 834),
            ("hdc", 5632),
            ("sdb3", 2067),
            ("51712", 51712),
        ] {
            let device: VirtualDevice = name.parse().unwrap();
            assert_eq!(device.number, number, "{name}");
        }
        for bad in [
            "", "xvd", "xvd1", "hde", "sdq", "xvda256", "vda", "xvdA", "xvda1x", "d", "dp1",
        ] {
            assert!(bad.parse::<VirtualDevice>().is_err(), "{bad}");
        }
    }
}
