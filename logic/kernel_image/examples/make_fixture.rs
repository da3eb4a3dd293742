//! Writes the content of the fixtures in `tests/fixtures`, to be packed by hand when they are to change.

#[path = "../tests/sample/mod.rs"]
mod sample;

fn main() -> std::io::Result<()> {
    use std::io::Write;
    std::io::stdout().write_all(&sample::sample(1, 12_000))
}
