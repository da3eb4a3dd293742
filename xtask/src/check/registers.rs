//! The hypervisor does not touch the FPU's and the vector registers, which hold the guest's values all the time
//! that it runs. Only what saves and restores them names some.

use std::process::Command;

use anyhow::Result;

use super::none_of;
use crate::command::capture;
use crate::image;

/// Parts of the names of functions that may.
const MAY: &[&str] = &["xsave", "xstate", "fpu"];

/// Disassembles the image and looks at every instruction's operands.
pub(crate) fn check() -> Result<()> {
    let image = image::build()?;
    let disassembler = image::llvm_tool("llvm-objdump")?;
    let listing = capture(
        Command::new(disassembler)
            .args(["--disassemble", "--no-show-raw-insn", "--demangle"])
            .arg(&image.linked),
    )?;
    anyhow::ensure!(listing.contains("ret"), "the image has no code");
    none_of(offences(&listing))
}

fn offences(listing: &str) -> Vec<String> {
    let mut function = "";
    let mut offences = Vec::new();
    for line in listing.lines() {
        // `ffff82d040001000 <name>:`
        if let Some((_, name)) = line
            .strip_suffix(">:")
            .and_then(|start| start.split_once(" <"))
        {
            function = name;
        } else if ["%xmm", "%ymm", "%zmm", "%st", "%mm"]
            .iter()
            .any(|register| line.contains(register))
            && !MAY
                .iter()
                .any(|part| function.to_lowercase().contains(part))
        {
            offences.push(format!("{function}: {}", line.trim()));
        }
    }
    offences
}

#[cfg(test)]
mod tests {
    use super::offences;

    #[test]
    fn finds_vector_registers_outside_of_what_may() {
        let listing = "ffff82d040001000 <a::b>:\nffff82d040001000: movaps %xmm0, (%rsp)\n\
                       ffff82d040001010 <a::fpu_load>:\nffff82d040001010: movaps %xmm0, (%rsp)\n";
        assert_eq!(
            offences(listing),
            ["a::b: ffff82d040001000: movaps %xmm0, (%rsp)"]
        );
    }
}
