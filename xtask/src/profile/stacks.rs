//! Which function an instruction belongs to, and what was put into it inline: symbols and debug information of the
//! image, the latter read by binutils' `addr2line`.

use std::collections::{BTreeMap, HashMap};
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use object::{Object, ObjectSymbol, SymbolKind};

use crate::symbols::IMAGE_BASE;

/// Where an instruction is.
#[derive(Clone, Debug, Default)]
pub(super) struct Stack {
    /// The function as it is linked.
    pub(super) function: String,
    /// That, and what is inlined at this place, outermost first.
    pub(super) frames: Vec<String>,
    /// The function's first instruction: executed once each time that it is called.
    pub(super) is_first: bool,
}

/// The stacks of instructions at offsets from the image's base.
pub(super) fn of(linked: &Path, offsets: &BTreeMap<u64, i64>) -> Result<HashMap<u64, Stack>> {
    let functions = functions(linked)?;
    let mut inlined = inlined(linked, offsets)?;
    let mut stacks = HashMap::new();
    for offset in offsets.keys() {
        let (start, function) = functions
            .range(..=*offset)
            .next_back()
            .map_or((0, "?"), |(start, name)| (*start, name.as_str()));
        let mut frames = inlined.remove(offset).unwrap_or_default();
        // The innermost comes first; the outermost is the function itself, if the debug information knows it.
        frames.pop();
        frames.push(function.to_owned());
        frames.reverse();
        stacks.insert(
            *offset,
            Stack {
                function: function.to_owned(),
                frames,
                is_first: start == *offset,
            },
        );
    }
    Ok(stacks)
}

/// The image's functions by their offsets.
fn functions(linked: &Path) -> Result<BTreeMap<u64, String>> {
    let content = std::fs::read(linked)?;
    let file = object::File::parse(content.as_slice())?;
    let mut functions = BTreeMap::new();
    for symbol in file.symbols() {
        let is_code = symbol.kind() == SymbolKind::Text
            || (symbol.kind() == SymbolKind::Unknown && symbol.is_definition());
        let (Some(offset), Ok(name)) = (symbol.address().checked_sub(IMAGE_BASE), symbol.name())
        else {
            continue;
        };
        if is_code && !name.is_empty() && !name.starts_with(['.', '$']) {
            functions.insert(
                offset,
                plain(&format!("{:#}", rustc_demangle::demangle(name))),
            );
        }
    }
    Ok(functions)
}

/// Function names, innermost first, for each address.
fn inlined(linked: &Path, offsets: &BTreeMap<u64, i64>) -> Result<HashMap<u64, Vec<String>>> {
    let mut child = Command::new("addr2line")
        .args(["--functions", "--inlines", "--addresses", "--exe"])
        .arg(linked)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .context("cannot start addr2line, of binutils")?;
    let mut input = child.stdin.take().context("its input is piped")?;
    let addresses: Vec<u64> = offsets.keys().map(|offset| IMAGE_BASE + offset).collect();
    let writer = std::thread::spawn(move || {
        addresses
            .iter()
            .try_for_each(|address| writeln!(input, "{address:#x}"))
    });
    let output = child.wait_with_output()?;
    if !output.status.success() || writer.join().is_err() {
        bail!("addr2line failed ({})", output.status);
    }
    Ok(parse(&String::from_utf8_lossy(&output.stdout)))
}

/// `0xADDRESS`, then a line with a function and one with its place for each frame.
fn parse(text: &str) -> HashMap<u64, Vec<String>> {
    let mut frames: HashMap<u64, Vec<String>> = HashMap::new();
    let mut current = None;
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if let Some(digits) = line.strip_prefix("0x") {
            current = u64::from_str_radix(digits, 16)
                .ok()
                .and_then(|address| address.checked_sub(IMAGE_BASE));
            continue;
        }
        let _place = lines.next();
        if let Some(offset) = current {
            let name = plain(&format!("{:#}", rustc_demangle::demangle(line)));
            frames.entry(offset).or_default().push(name);
        }
    }
    frames
}

/// A name without what separates frames.
fn plain(name: &str) -> String {
    name.replace([';', ' '], "_")
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn frames_of_an_address() {
        let text = "0xffff82d040001000\ninner\n/a/b.rs:1\n_ZN5outer3run17h0123456789abcdefE\n/a/c.rs:2\n\
                    0xffff82d040001004\n??\n??:0\n";
        let frames = parse(text);
        assert_eq!(frames[&0x1000], ["inner", "outer::run"]);
        assert_eq!(frames[&0x1004], ["??"]);
    }
}
