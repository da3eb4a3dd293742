//! Generates the two halves of the comparison from `xen_abi`'s source.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs};

#[path = "src/exceptions.rs"]
mod exceptions;
#[path = "src/extract.rs"]
mod extract;

use extract::{Field, Interface, Record};

/// The start of the C program. `__XEN_TOOLS__` selects the newest interface version and the control interfaces.
const C_PRELUDE: &str = include_str!("src/prelude.c");

fn main() {
    let manifest = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("set by cargo"));
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("set by cargo"));
    let source = manifest.join("../../abi/xen_abi/src");
    println!("cargo::rerun-if-changed={}", source.display());
    println!("cargo::rerun-if-changed=src");
    println!("cargo::rerun-if-changed=build.rs");

    let mut files = Vec::new();
    read_directory(&source, &source, &mut files);
    let mut modules = Vec::new();
    for (name, text) in &files {
        if exceptions::FILES.iter().any(|(file, _)| file == name) {
            continue;
        }
        let module = name.trim_end_matches(".rs").replace('/', "::");
        match extract::extract(&module, text) {
            Ok(interface) => modules.push((module, interface)),
            Err(error) => panic!("abi/xen_abi/src/{name}: {error}"),
        }
    }
    check_exceptions(&files, &modules);
    let (rust, c) = generate(&modules);
    fs::write(out.join("table.rs"), rust).expect("OUT_DIR is writable");
    fs::write(out.join("layout.c"), c).expect("OUT_DIR is writable");
}

fn read_directory(root: &Path, directory: &Path, files: &mut Vec<(String, String)>) {
    let entries = fs::read_dir(directory)
        .unwrap_or_else(|error| panic!("cannot read {}: {error}", directory.display()));
    for entry in entries {
        let path = entry.expect("directory can be read").path();
        if path.is_dir() {
            read_directory(root, &path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let name = path
                .strip_prefix(root)
                .expect("below the root")
                .to_str()
                .expect("UTF-8")
                .to_owned();
            let text = fs::read_to_string(&path)
                .unwrap_or_else(|error| panic!("cannot read {}: {error}", path.display()));
            files.push((name, text));
        }
    }
    files.sort();
}

/// An exception that excepts nothing is a mistake.
fn check_exceptions(files: &[(String, String)], modules: &[(String, Interface)]) {
    for (file, _) in exceptions::FILES {
        assert!(
            files.iter().any(|(name, _)| name == file),
            "exceptions.rs: no file {file}"
        );
    }
    let has = |wanted: &str, field: bool| {
        modules.iter().any(|(module, interface)| {
            interface.records.iter().any(|record| {
                let path = format!("{module}::{}", record.name);
                if field {
                    (record.fields.iter()).any(|field| format!("{path}.{}", field.name) == wanted)
                } else {
                    path == wanted
                }
            })
        })
    };
    for (path, _) in exceptions::STRUCTS {
        assert!(has(path, false), "exceptions.rs: no structure {path}");
    }
    for (path, _) in exceptions::FIELDS {
        assert!(has(path, true), "exceptions.rs: no field {path}");
    }
}

/// The lines of both programs, `key`, `Rust expression`, `C expression`.
struct Lines {
    rust: String,
    c: String,
}

impl Lines {
    fn size(&mut self, key: &str, rust: &str, c: &str) {
        self.line(key, rust, "SIZE", c);
    }

    fn value(&mut self, key: &str, rust: &str, c: &str) {
        self.line(key, rust, "VALUE", c);
    }

    fn line(&mut self, key: &str, rust: &str, c_macro: &str, c: &str) {
        writeln!(self.rust, "    (\"{key}\", {rust} as i128),")
            .and_then(|()| writeln!(self.c, "    {c_macro}(\"{key}\", {c});"))
            .expect("strings grow");
    }
}

fn generate(modules: &[(String, Interface)]) -> (String, String) {
    let mut lines = Lines {
        rust: String::new(),
        c: String::from(C_PRELUDE),
    };
    let mut tables = String::new();
    for (module, interface) in modules {
        let table = module.replace("::", "_");
        writeln!(tables, "    {table}::TABLE,").expect("strings grow");
        // Types and constants are named as in the module itself, so the generated module sees what it sees.
        writeln!(
            lines.rust,
            "#[allow(unused_imports, clippy::wildcard_imports, clippy::unnecessary_cast)]\n\
             mod {table} {{\nuse xen_abi::{module}::*;\n{}\n\
             pub(super) const TABLE: &[(&str, i128)] = &[",
            interface.imports.join("\n")
        )
        .expect("strings grow");
        for record in &interface.records {
            record_lines(&mut lines, module, record);
        }
        for constant in &interface.constants {
            lines.value(&constant.c_name, &constant.value, &constant.c_name);
        }
        lines.rust.push_str("];\n}\n");
    }
    let rust = format!(
        "{}\n/// Sizes, alignments, offsets and values as `xen_abi` has them, a table for each module.\n\
         pub const EXPECTATIONS: &[&[(&str, i128)]] = &[\n{tables}];\n",
        lines.rust
    );
    lines.c.push_str("    return 0;\n}\n");
    (rust, lines.c)
}

fn record_lines(lines: &mut Lines, module: &str, record: &Record) {
    let name = &record.name;
    let path = format!("{module}::{name}");
    if exceptions::STRUCTS
        .iter()
        .any(|(except, _)| *except == path)
    {
        return;
    }
    let c_type = &record.c_type;
    lines.size(
        &format!("{path} size"),
        &format!("size_of::<{name}>()"),
        &format!("sizeof({c_type})"),
    );
    lines.size(
        &format!("{path} alignment"),
        &format!("align_of::<{name}>()"),
        &format!("_Alignof({c_type})"),
    );
    for Field {
        name: field,
        ty,
        c_name,
    } in &record.fields
    {
        let full = format!("{path}.{field}");
        if exceptions::FIELDS.iter().any(|(except, _)| *except == full) {
            continue;
        }
        lines.size(
            &format!("{full} offset"),
            &format!("core::mem::offset_of!({name}, {field})"),
            &format!("offsetof({c_type}, {c_name})"),
        );
        lines.size(
            &format!("{full} size"),
            &format!("size_of::<{ty}>()"),
            &format!("sizeof((({c_type} *)0)->{c_name})"),
        );
    }
    for Field {
        name: member,
        ty,
        c_name,
    } in &record.members
    {
        lines.size(
            &format!("{path}.{member} size"),
            &format!("size_of::<{ty}>()"),
            &format!("sizeof((({c_type} *)0)->{c_name})"),
        );
    }
}
