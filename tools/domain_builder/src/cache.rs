//! Kernels that were unpacked before.
//!
//! `DIRECTORY/content/HASH` has the parts of a kernel that go to memory, and behind them, in its last bytes, where
//! they go. HASH is the SHA-256 of the kernel's file. `DIRECTORY/files/IDENTITY` is a link that says which
//! content a file had that was seen: its device, inode, size and times, of which the last change cannot be set
//! by whoever may write the file. So a kernel that was seen is found without reading it, and a copy of it by its
//! content.
//!
//! Entries appear by renaming, complete or not at all. The cache is the system administrator's alone (mode
//! 0700); one that is damaged or cannot be written is as good as none.

use std::fs::{self, File, Permissions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use addr::Vaddr;
use pv_layout::KernelPlace;
use sha2::{Digest, Sha256};

use crate::kernel::{Content, Kernel, LoadPart, Unpacked};

/// The first line of what is behind the parts; another number when the form changes.
const FORM: &str = "xenolith kernel 1";
/// How many contents are kept.
const KEPT: usize = 8;
/// The most bytes that say where parts go.
const MAX_FACTS: u64 = 64 << 10;

/// The cache.
#[derive(Clone, Debug)]
pub struct Cache {
    directory: Option<PathBuf>,
}

/// Which file it is, in which state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity(String);

impl Cache {
    /// The cache in this directory, made when it is needed.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self {
            directory: Some(directory.into()),
        }
    }

    /// Keeps nothing.
    pub fn none() -> Self {
        Self { directory: None }
    }

    /// A file's identity.
    pub fn identity(&self, file: &File) -> Option<Identity> {
        self.directory.as_ref()?;
        let metadata = file.metadata().ok().filter(fs::Metadata::is_file)?;
        Some(Identity(format!(
            "{:x}-{:x}-{:x}-{:x}.{:x}-{:x}.{:x}",
            metadata.dev(),
            metadata.ino(),
            metadata.size(),
            metadata.mtime(),
            metadata.mtime_nsec(),
            metadata.ctime(),
            metadata.ctime_nsec()
        )))
    }

    fn link(&self, identity: &Identity) -> Option<PathBuf> {
        Some(self.directory.as_ref()?.join("files").join(&identity.0))
    }

    fn content(&self, hash: &str) -> Option<PathBuf> {
        Some(self.directory.as_ref()?.join("content").join(hash))
    }

    /// The kernel of a file that was seen in this state.
    pub fn find(&self, identity: &Identity) -> Option<Kernel> {
        let link = self.link(identity)?;
        let found = File::open(&link).ok().and_then(read);
        if found.is_none() {
            // A link to nothing, or to something damaged: it shall not stay for ever.
            let _ = fs::remove_file(link);
        }
        found
    }

    /// The kernel of a file with this content; from now on the file is known.
    pub(crate) fn find_content(&self, identity: &Identity, bytes: &[u8]) -> Option<Kernel> {
        let hash = hash(bytes);
        let kernel = read(File::open(self.content(&hash)?).ok()?)?;
        // Without the link it is found by content again.
        let _ = self.remember(identity, &hash);
        Some(kernel)
    }

    /// Keeps a kernel; gives it with its content in the kept file.
    pub(crate) fn keep(
        &self,
        identity: &Identity,
        packed: &[u8],
        unpacked: &Unpacked,
    ) -> Option<Kernel> {
        let hash = hash(packed);
        self.store(&hash, unpacked).ok()?;
        let _ = self.remember(identity, &hash);
        self.drop_oldest();
        read(File::open(self.content(&hash)?).ok()?)
    }

    fn store(&self, hash: &str, unpacked: &Unpacked) -> io::Result<()> {
        let path = self.content(hash).ok_or(io::ErrorKind::NotFound)?;
        let parent = path.parent().ok_or(io::ErrorKind::NotFound)?;
        make_private(parent)?;
        let partial = parent.join(format!("{hash}.partial-{}", std::process::id()));
        let write = || {
            let mut file = File::create(&partial)?;
            file.write_all(&unpacked.bytes)?;
            let facts = facts(&unpacked.kernel);
            file.write_all(facts.as_bytes())?;
            file.write_all(&(facts.len() as u64).to_le_bytes())?;
            fs::rename(&partial, &path)
        };
        write().inspect_err(|_| {
            let _ = fs::remove_file(&partial);
        })
    }

    fn remember(&self, identity: &Identity, hash: &str) -> io::Result<()> {
        let link = self.link(identity).ok_or(io::ErrorKind::NotFound)?;
        let parent = link.parent().ok_or(io::ErrorKind::NotFound)?;
        make_private(parent)?;
        let target = Path::new("../content").join(hash);
        match symlink(&target, &link) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                fs::remove_file(&link)?;
                symlink(&target, &link)
            }
            result => result,
        }
    }

    /// Forgets what was not used for the longest time, and links to it.
    fn drop_oldest(&self) {
        let Some(directory) = &self.directory else {
            return;
        };
        let Ok(entries) = fs::read_dir(directory.join("content")) else {
            return;
        };
        let mut all: Vec<_> = entries
            .flatten()
            .filter_map(|entry| {
                let metadata = entry.metadata().ok()?;
                let used = metadata.accessed().or(metadata.modified()).ok()?;
                Some((used, entry.path()))
            })
            .collect();
        all.sort();
        let surplus = all.len().saturating_sub(KEPT);
        if surplus == 0 {
            return;
        }
        for (_, path) in all.iter().take(surplus) {
            let _ = fs::remove_file(path);
        }
        for link in fs::read_dir(directory.join("files"))
            .into_iter()
            .flatten()
            .flatten()
        {
            if !link.path().exists() {
                let _ = fs::remove_file(link.path());
            }
        }
    }
}

fn make_private(directory: &Path) -> io::Result<()> {
    fs::create_dir_all(directory)?;
    if let Some(parent) = directory.parent() {
        fs::set_permissions(parent, Permissions::from_mode(0o700))?;
    }
    Ok(())
}

fn hash(bytes: &[u8]) -> String {
    let digest = Sha256::digest(bytes);
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Where the parts go, as text.
fn facts(kernel: &Kernel) -> String {
    let place = &kernel.place;
    let optional = |address: Option<Vaddr>| address.map_or(0, Vaddr::raw);
    let mut text = format!(
        "{FORM}\n{:x} {:x} {:x} {:x} {:x} {:x} {:x}\n",
        place.entry.raw(),
        place.virt_base.raw(),
        place.end.raw(),
        optional(place.hypercall_page),
        optional(place.init_p2m),
        u8::from(place.mod_start_pfn),
        u8::from(kernel.has_pae_note)
    );
    for part in &kernel.parts {
        let LoadPart {
            address,
            memory_size,
            offset,
            length,
        } = part;
        text.push_str(&format!(
            "{address:x} {memory_size:x} {offset:x} {length:x}\n"
        ));
    }
    text
}

fn read(mut file: File) -> Option<Kernel> {
    let size = file.metadata().ok()?.len();
    let mut length = [0; 8];
    let length_at = size.checked_sub(8)?;
    file.read_exact_at(&mut length, length_at).ok()?;
    let facts_length = u64::from_le_bytes(length);
    if facts_length > MAX_FACTS {
        return None;
    }
    let facts_at = length_at.checked_sub(facts_length)?;
    let mut text = String::new();
    file.seek(SeekFrom::Start(facts_at)).ok()?;
    let mut facts = (&mut file).take(facts_length);
    facts.read_to_string(&mut text).ok()?;
    let mut lines = text.lines();
    if lines.next()? != FORM {
        return None;
    }
    let numbers = |line: &str| -> Option<Vec<u64>> {
        line.split(' ')
            .map(|word| u64::from_str_radix(word, 16).ok())
            .collect()
    };
    let place = numbers(lines.next()?)?;
    let [
        entry,
        virt_base,
        end,
        hypercall_page,
        init_p2m,
        mod_start_pfn,
        pae,
    ] = place[..]
    else {
        return None;
    };
    let optional = |address: u64| (address != 0).then(|| Vaddr::new(address));
    let mut parts = Vec::new();
    for line in lines {
        let [address, memory_size, offset, length] = numbers(line)?[..] else {
            return None;
        };
        let inside = offset
            .checked_add(length)
            .is_some_and(|past| past <= facts_at);
        if !inside || length > memory_size {
            return None;
        }
        parts.push(LoadPart {
            address,
            memory_size,
            offset,
            length,
        });
    }
    Some(Kernel {
        place: KernelPlace {
            entry: Vaddr::new(entry),
            virt_base: Vaddr::new(virt_base),
            end: Vaddr::new(end),
            hypercall_page: optional(hypercall_page),
            init_p2m: optional(init_p2m),
            mod_start_pfn: mod_start_pfn != 0,
        },
        has_pae_note: pae != 0,
        parts,
        content: Content::File(Arc::new(file)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Scratch(PathBuf);

    impl Scratch {
        fn new(name: &str) -> Self {
            let path =
                std::env::temp_dir().join(format!("xenolith-cache-{name}-{}", std::process::id()));
            let _ = fs::remove_dir_all(&path);
            fs::create_dir_all(&path).unwrap();
            Self(path)
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn unpacked(bytes: &[u8]) -> Unpacked {
        let part = LoadPart {
            address: 0xffff_ffff_8100_0000,
            memory_size: 100,
            offset: 0,
            length: bytes.len() as u64,
        };
        Unpacked {
            kernel: Kernel {
                place: KernelPlace {
                    entry: Vaddr::new(0xffff_ffff_8100_0000),
                    virt_base: Vaddr::new(0xffff_ffff_8000_0000),
                    end: Vaddr::new(0xffff_ffff_8200_0000),
                    hypercall_page: None,
                    init_p2m: Some(Vaddr::new(0x80_0000_0000)),
                    mod_start_pfn: true,
                },
                has_pae_note: true,
                parts: vec![part],
                content: Content::Bytes(Arc::new([])),
            },
            bytes: bytes.to_vec(),
        }
    }

    #[test]
    fn a_file_is_found_until_it_changes() {
        let scratch = Scratch::new("changes");
        let cache = Cache::new(scratch.0.join("cache"));
        let path = scratch.0.join("kernel");
        fs::write(&path, b"packed").unwrap();
        let identity = |cache: &Cache| cache.identity(&File::open(&path).unwrap()).unwrap();
        let first = identity(&cache);
        assert!(cache.find(&first).is_none());
        let wanted = unpacked(b"abc");
        let kept = cache.keep(&first, b"packed", &wanted).unwrap();
        let found = cache.find(&first).unwrap();
        for kernel in [&kept, &found] {
            assert_eq!(kernel.place, wanted.kernel.place);
            assert_eq!(kernel.parts, wanted.kernel.parts);
            assert!(kernel.has_pae_note);
            let Content::File(file) = &kernel.content else {
                panic!("not a file")
            };
            let mut bytes = [0; 3];
            file.read_exact_at(&mut bytes, 0).unwrap();
            assert_eq!(&bytes, b"abc");
        }
        // The same content under another name is found by its content.
        let copy = scratch.0.join("copy");
        fs::write(&copy, b"packed").unwrap();
        let other = cache.identity(&File::open(&copy).unwrap()).unwrap();
        assert!(cache.find(&other).is_none());
        assert!(cache.find_content(&other, b"packed").is_some());
        assert!(cache.find(&other).is_some());
        fs::write(&path, b"other!").unwrap();
        assert!(cache.find(&identity(&cache)).is_none());
        let mode = fs::metadata(scratch.0.join("cache"))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o700);
    }

    #[test]
    fn damage_is_as_good_as_nothing() {
        let scratch = Scratch::new("damage");
        let cache = Cache::new(scratch.0.join("cache"));
        let path = scratch.0.join("kernel");
        fs::write(&path, b"packed").unwrap();
        let identity = cache.identity(&File::open(&path).unwrap()).unwrap();
        cache.keep(&identity, b"packed", &unpacked(b"abc")).unwrap();
        let content = cache.content(&hash(b"packed")).unwrap();
        let whole = fs::read(&content).unwrap();
        for length in 0..whole.len() {
            fs::write(&content, &whole[..length]).unwrap();
            let file = File::open(&content).unwrap();
            assert!(read(file).is_none(), "{length} bytes");
        }
        for index in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[index] ^= 0x55;
            fs::write(&content, &bytes).unwrap();
            // Whatever it gives: no panic, and no part outside the file.
            if let Some(kernel) = read(File::open(&content).unwrap()) {
                assert!(
                    kernel
                        .parts
                        .iter()
                        .all(|part| part.offset + part.length <= whole.len() as u64)
                );
            }
        }
    }

    #[test]
    fn few_are_kept() {
        let scratch = Scratch::new("few");
        let cache = Cache::new(scratch.0.join("cache"));
        for index in 0..KEPT + 3 {
            let path = scratch.0.join(format!("kernel{index}"));
            fs::write(&path, index.to_string()).unwrap();
            let identity = cache.identity(&File::open(&path).unwrap()).unwrap();
            cache.keep(&identity, index.to_string().as_bytes(), &unpacked(b"abc"));
        }
        for directory in ["content", "files"] {
            let count = fs::read_dir(scratch.0.join("cache").join(directory))
                .unwrap()
                .count();
            assert_eq!(count, KEPT, "{directory}");
        }
    }
}
