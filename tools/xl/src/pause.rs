//! `xl pause` and `xl unpause`.

use clap::Args;

use crate::command::Run;
use crate::context::{Context, Outcome};

/// Options of `xl pause`.
#[derive(Args, Debug)]
pub(crate) struct Pause {
    /// The domain, by name or number
    domain: String,
}

impl Run for Pause {
    const NAME: &'static str = "pause";
    const ABOUT: &'static str = "Pause execution of a domain";

    fn run(self, context: &Context) -> Outcome {
        let info = context.find_domain(&self.domain)?;
        Ok(context.control()?.pause(info.domain)?)
    }
}

/// Options of `xl unpause`.
#[derive(Args, Debug)]
pub(crate) struct Unpause {
    /// The domain, by name or number
    domain: String,
}

impl Run for Unpause {
    const NAME: &'static str = "unpause";
    const ABOUT: &'static str = "Unpause a paused domain";

    fn run(self, context: &Context) -> Outcome {
        let info = context.find_domain(&self.domain)?;
        Ok(context.control()?.unpause(info.domain)?)
    }
}
