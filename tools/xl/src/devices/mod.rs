//! Devices.

use domain_config::DomainConfig;
use xen_control::DomId;

use crate::context::{Context, Failure, Outcome};

pub(crate) fn check(_context: &Context, config: &DomainConfig) -> Outcome {
    if config.disks.is_empty() && config.vifs.is_empty() {
        return Ok(());
    }
    Err(Failure::new("devices cannot be had yet").with_code(3))
}

pub(crate) fn attach_all(_: &Context, _: DomId, _: &DomainConfig) -> Outcome {
    Ok(())
}

pub(crate) fn detach_all(_: &Context, _: DomId) -> Outcome {
    Ok(())
}
