//! The image's own symbol table, for backtraces: fills the section `.symbols` that the image reserves.
//!
//! Format, little-endian: count (u32); count × (offset of a function from the image's base (u32), offset of
//! its name from the start of the table (u32)), sorted by the first; names, each ended by a NUL. The reader is
//! `platform/cpu/src/symbols.rs`.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};
use object::{Object, ObjectSection, ObjectSymbol, SymbolKind};

/// Where the image is linked: `ARCHITECTURE.md`, address space.
pub(crate) const IMAGE_BASE: u64 = 0xffff_82d0_4000_0000;

/// Puts the symbols into the linked image. An image without the section stays as it is.
pub(crate) fn fill(mut elf: Vec<u8>) -> Result<Vec<u8>> {
    let file = object::File::parse(elf.as_slice())?;
    let Some(section) = file.section_by_name(".symbols") else {
        return Ok(elf);
    };
    let (start, room) = section
        .file_range()
        .context(".symbols has no room in the file: it must not be NOBITS")?;
    let mut functions = BTreeMap::new();
    for symbol in file.symbols() {
        let is_code = symbol.kind() == SymbolKind::Text
            || (symbol.kind() == SymbolKind::Unknown && symbol.is_definition());
        let Some(offset) = symbol.address().checked_sub(IMAGE_BASE) else {
            continue;
        };
        let (Ok(offset), Ok(name)) = (u32::try_from(offset), symbol.name()) else {
            continue;
        };
        if is_code && !name.is_empty() && !name.starts_with(['.', '$']) {
            functions
                .entry(offset)
                .or_insert_with(|| format!("{:#}", rustc_demangle::demangle(name)));
        }
    }
    let blob = encode(&functions)?;
    if blob.len() as u64 > room {
        bail!(
            "{} bytes of symbols do not fit into the {room} bytes of the section .symbols",
            blob.len()
        );
    }
    let start = usize::try_from(start)?;
    let place = elf
        .get_mut(start..start + blob.len())
        .context(".symbols lies outside of the file")?;
    place.copy_from_slice(&blob);
    Ok(elf)
}

fn encode(functions: &BTreeMap<u32, String>) -> Result<Vec<u8>> {
    let mut table = u32::try_from(functions.len())?.to_le_bytes().to_vec();
    let names_start = 4 + 8 * functions.len();
    let mut names = Vec::new();
    for (offset, name) in functions {
        table.extend_from_slice(&offset.to_le_bytes());
        table.extend_from_slice(&u32::try_from(names_start + names.len())?.to_le_bytes());
        names.extend_from_slice(name.as_bytes());
        names.push(0);
    }
    table.extend_from_slice(&names);
    Ok(table)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::encode;

    #[test]
    fn layout() {
        let functions = BTreeMap::from([(0x20, "b".to_owned()), (0x10, "start".to_owned())]);
        let mut expected = vec![2, 0, 0, 0];
        expected.extend([0x10, 0, 0, 0, 20, 0, 0, 0, 0x20, 0, 0, 0, 26, 0, 0, 0]);
        expected.extend(b"start\0b\0");
        assert_eq!(encode(&functions).unwrap(), expected);
    }
}
