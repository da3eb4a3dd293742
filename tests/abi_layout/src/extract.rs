//! Reads `xen_abi`'s source and lists every structure, union and constant with its C name, so that none can be
//! forgotten: an item that is not understood is an error.

use proc_macro2::TokenStream;
use quote::ToTokens;
use syn::parse::{Parse, ParseStream};
use syn::{Attribute, Expr, Ident, Item, LitStr, Token, Type, braced, bracketed};

/// A structure or a union.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Record {
    /// Its name in its module, `StartInfo`.
    pub(crate) name: String,
    /// An expression of the C type.
    pub(crate) c_type: String,
    /// The fields.
    pub(crate) fields: Vec<Field>,
    /// For a union: the members.
    pub(crate) members: Vec<Field>,
}

/// A field of a structure or a member of a union.
#[derive(Debug, PartialEq)]
pub(crate) struct Field {
    /// Rust's name.
    pub(crate) name: String,
    /// Rust's type.
    pub(crate) ty: String,
    /// C's name.
    pub(crate) c_name: String,
}

/// A constant.
#[derive(Debug, PartialEq)]
pub(crate) struct Constant {
    /// An expression of the value in Rust, in the module.
    pub(crate) value: String,
    /// C's name.
    pub(crate) c_name: String,
}

/// What a file declares.
#[derive(Debug, Default)]
pub(crate) struct Interface {
    /// Structures and unions.
    pub(crate) records: Vec<Record>,
    /// Constants.
    pub(crate) constants: Vec<Constant>,
    /// What the module imports from the rest of `xen_abi`, as another crate writes it.
    pub(crate) imports: Vec<String>,
}

/// The C type that a search alias stands for: `a` is `struct a`, `a_t` is a typedef, `union a` is itself, and
/// `a.b.c` is the type of a member.
pub(crate) fn c_type(alias: &str) -> String {
    if let Some((outer, member)) = alias.split_once('.') {
        let outer = match outer {
            "grant_entry_v2" => "union grant_entry_v2".to_owned(),
            "xenpf_efi_info" => "union xenpf_efi_info".to_owned(),
            _ => c_type(outer),
        };
        format!("__typeof__((({outer} *)0)->{member})")
    } else if alias.ends_with("_t") || alias.starts_with("union ") {
        alias.to_owned()
    } else {
        format!("struct {alias}")
    }
}

/// Lists what `source` declares, the module `module` of `xen_abi`.
pub(crate) fn extract(module: &str, source: &str) -> Result<Interface, String> {
    let file = syn::parse_file(source).map_err(|error| format!("{module}: {error}"))?;
    let mut interface = Interface::default();
    for item in file.items {
        item_into(item, &mut interface).map_err(|error| format!("{module}: {error}"))?;
    }
    Ok(interface)
}

fn item_into(item: Item, interface: &mut Interface) -> Result<(), String> {
    match item {
        Item::Struct(item) if item.ident == "Errno" => Ok(()),
        Item::Struct(item) => {
            let name = item.ident.to_string();
            let alias = alias(&item.attrs)
                .ok_or_else(|| format!("structure {name} has no `#[doc(alias = \"C name\")]`"))?;
            let mut record = Record {
                name: name.clone(),
                c_type: c_type(&alias),
                ..Record::default()
            };
            for field in item.fields {
                let field_name = field
                    .ident
                    .as_ref()
                    .ok_or_else(|| format!("{name} has a field without a name"))?
                    .to_string();
                // Padding that C leaves to the compiler.
                if field_name.starts_with("_hole") {
                    continue;
                }
                record.fields.push(Field {
                    c_name: self::alias(&field.attrs).unwrap_or_else(|| field_name.clone()),
                    ty: field.ty.to_token_stream().to_string(),
                    name: field_name,
                });
            }
            interface.records.push(record);
            Ok(())
        }
        Item::Macro(item) => {
            let name = item
                .mac
                .path
                .segments
                .last()
                .map(|segment| segment.ident.to_string())
                .unwrap_or_default();
            let parsed = match name.as_str() {
                // The definition of a macro that is used in the same file only.
                "macro_rules" => Ok(()),
                "constants" => syn::parse2::<Constants>(item.mac.tokens).map(|constants| {
                    for (rust_name, c_name) in constants.0 {
                        interface.constants.push(Constant {
                            value: rust_name.to_string(),
                            c_name,
                        });
                    }
                }),
                "union" => syn::parse2::<Union>(item.mac.tokens).map(|union| {
                    interface.records.push(Record {
                        name: union.name.to_string(),
                        c_type: c_type(&union.alias),
                        fields: Vec::new(),
                        members: union.members,
                    });
                }),
                "error_numbers" => syn::parse2::<ErrorNumbers>(item.mac.tokens).map(|numbers| {
                    for name in numbers.0 {
                        interface.constants.push(Constant {
                            value: format!("Errno::{name}.0"),
                            c_name: format!("XEN_{name}"),
                        });
                    }
                }),
                _ => return Err(format!("macro {name}! is not known to the layout check")),
            };
            parsed.map_err(|error| format!("{name}!: {error}"))
        }
        Item::Const(item) => Err(format!("constant {} is not in constants! {{}}", item.ident)),
        Item::Enum(item) => Err(format!("enum {}: the interface has none", item.ident)),
        // A module without contents is another file.
        Item::Mod(item) if item.content.is_none() || is_test(&item.attrs) => Ok(()),
        Item::Use(item) => {
            let import = item.to_token_stream().to_string();
            if let Some(path) = import.strip_prefix("use crate ::") {
                interface.imports.push(format!("use xen_abi ::{path}"));
            }
            Ok(())
        }
        Item::Impl(_) | Item::Fn(_) => Ok(()),
        other => Err(format!("not understood: {}", other.to_token_stream())),
    }
}

fn is_test(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("cfg") && attribute.to_token_stream().to_string().contains("test")
    })
}

fn alias(attributes: &[Attribute]) -> Option<String> {
    attributes.iter().find_map(|attribute| {
        if !attribute.path().is_ident("doc") {
            return None;
        }
        let mut alias = None;
        let _ = attribute.parse_nested_meta(|meta| {
            if meta.path.is_ident("alias") {
                alias = Some(meta.value()?.parse::<LitStr>()?.value());
            }
            Ok(())
        });
        alias
    })
}

/// The contents of `constants! {}`: Rust's and C's names.
struct Constants(Vec<(Ident, String)>);

impl Parse for Constants {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        input.parse::<Type>()?;
        input.parse::<Token![;]>()?;
        let mut constants = Vec::new();
        while !input.is_empty() {
            input.call(Attribute::parse_outer)?;
            let name: Ident = input.parse()?;
            input.parse::<Token![=]>()?;
            input.parse::<Expr>()?;
            let c_name = if input.parse::<Option<Token![,]>>()?.is_some() {
                input.parse::<LitStr>()?.value()
            } else {
                name.to_string()
            };
            input.parse::<Token![;]>()?;
            constants.push((name, c_name));
        }
        Ok(Self(constants))
    }
}

/// The contents of `union! {}`.
struct Union {
    name: Ident,
    alias: String,
    members: Vec<Field>,
}

impl Parse for Union {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        input.call(Attribute::parse_outer)?;
        let name = input.parse()?;
        input.parse::<Token![:]>()?;
        let words;
        bracketed!(words in input);
        words.parse::<TokenStream>()?;
        input.parse::<Token![,]>()?;
        let alias = input.parse::<LitStr>()?.value();
        let body;
        braced!(body in input);
        let mut members = Vec::new();
        while !body.is_empty() {
            let attributes = body.call(Attribute::parse_outer)?;
            let member: Ident = body.parse()?;
            body.parse::<Token![:]>()?;
            let ty: Type = body.parse()?;
            body.parse::<Token![,]>()?;
            members.push(Field {
                c_name: self::alias(&attributes).unwrap_or_else(|| member.to_string()),
                ty: ty.to_token_stream().to_string(),
                name: member.to_string(),
            });
        }
        Ok(Self {
            name,
            alias,
            members,
        })
    }
}

/// The contents of `error_numbers! {}`: names.
struct ErrorNumbers(Vec<Ident>);

impl Parse for ErrorNumbers {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let mut names = Vec::new();
        while !input.is_empty() {
            input.call(Attribute::parse_outer)?;
            names.push(input.parse()?);
            input.parse::<Token![=]>()?;
            input.parse::<Expr>()?;
            input.parse::<Token![;]>()?;
        }
        Ok(Self(names))
    }
}
