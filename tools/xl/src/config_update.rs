//! `xl config-update`: another configuration for when a domain reboots.

use std::path::PathBuf;

use clap::Args;
use domain_config::Uuid;

use crate::command::Run;
use crate::context::{Context, Failure, Outcome};
use crate::{create, record};

/// Options of `xl config-update`.
#[derive(Args, Debug)]
pub(crate) struct ConfigUpdate {
    /// The domain, by name or number
    domain: String,
    /// The configuration file, and settings that replace its
    #[arg(value_name = "FILE|KEY=VALUE", required_unless_present = "file")]
    words: Vec<String>,
    /// The configuration file
    #[arg(short = 'f', long = "defconfig", value_name = "FILE")]
    file: Option<PathBuf>,
    /// Of Xen's xl: more messages
    #[arg(short = 'd', hide = true)]
    debug: bool,
}

impl Run for ConfigUpdate {
    const NAME: &'static str = "config-update";
    const ABOUT: &'static str = "Update a running domain's saved configuration, used when rebuilding the domain after reboot.";

    fn run(self, context: &Context) -> Outcome {
        let info = context.find_domain(&self.domain)?;
        let uuid = Uuid(info.handle);
        let Some(mut record) = record::of_uuid(uuid) else {
            return Err(Failure::new(format!(
                "domain {} was not made by this xl",
                info.domain
            )));
        };
        let mut words = self.words.iter();
        let file = match self.file {
            Some(file) => file,
            None => words.next().map(PathBuf::from).unwrap_or_default(),
        };
        let text = std::fs::read_to_string(&file).map_err(|error| {
            Failure::new(format!(
                "Failed to read config file: {}: {error}",
                file.display()
            ))
            .with_code(3)
        })?;
        let more: Vec<&str> = words.map(String::as_str).collect();
        let mut config = create::parse(&file.display().to_string(), &text, &more.join("\n"))?;
        // It stays the same domain.
        config.name.clone_from(&record.name);
        config.uuid = Some(uuid);
        create::choose(&mut config)?;
        record.config = config;
        record.save()?;
        if !context.json {
            println!("setting dom{} configuration", info.domain);
        }
        Ok(())
    }
}
