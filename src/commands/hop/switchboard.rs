//! Finds the files to edit, and the proxies that run with them.

use super::{
    error::HopError,
    target::{NoTarget, SwitchTarget},
};
use crate::{
    cli::ProxyChoice,
    commands::running,
    config::{Environment, Source},
    control::client::{Control, NoProxy, WantedProxy},
};

/// The files to edit, and the proxies that run with them.
#[derive(Debug)]
pub(super) struct Switchboard {
    pub(super) source: Source,
    pub(super) target: SwitchTarget,
    /// Every proxy of this user that reads the file, since all of them take the edit. Empty if none runs.
    pub(super) running: Vec<Control>,
    /// Whether the result has to name the proxy, since it is not certain that the command means this one.
    is_uncertain: bool,
}

impl Switchboard {
    /// Finds the files by their proxy, if `choice` names that, or else the proxy by the files.
    pub(super) fn find(
        name: &str,
        choice: &ProxyChoice,
        environment: &Environment,
    ) -> Result<Self, HopError> {
        let is_proxy_named = choice.address.is_some() || choice.pid.is_some();
        if is_proxy_named {
            if choice.config.path.is_some() {
                return Err(HopError::TwoNames);
            }
            let control = running::find(choice, environment).map_err(HopError::NotFound)?;
            let source = control.source();
            let target = SwitchTarget::find(&source, name)?;
            // One that does not answer is no other reader, as far as that is known.
            let mut running = Self::readers(&source, &target, environment).unwrap_or_default();
            // The named one reports first. Others that read the same file can't be kept from it.
            running.retain(|one| one.identity.pid != control.identity.pid);
            running.insert(0, control);
            return Ok(Self { source, target, running, is_uncertain: false });
        }
        let source =
            Source::find(choice.config.path.clone(), environment).map_err(HopError::NoSource)?;
        if !matches!(source, Source::Path(_)) {
            return Self::of_only_proxy(name, environment);
        }
        let doubt = || running::doubt_source(&choice.config, &source, environment);
        let target = SwitchTarget::find(&source, name).inspect_err(|_| doubt())?;
        // Without a proxy the file is still switched, for its next start.
        let running = Self::readers(&source, &target, environment)?;
        if running.is_empty() {
            doubt();
        }
        // A proxy that was started with another path to these files may not be the one that the operator means.
        let is_certain = |control: &Control| {
            control.is_exact && running::names_configuration(&choice.config, environment)
        };
        let is_uncertain = !running.iter().all(is_certain);
        Ok(Self { source, target, running, is_uncertain })
    }

    /// Returns whether the result has to name the proxies. Several may share the files, such as the two of an upgrade.
    pub(super) fn has_to_name_proxies(&self) -> bool {
        self.is_uncertain || self.running.len() > 1
    }

    /// Finds the files of the only proxy that runs, since none were found from here.
    fn of_only_proxy(name: &str, environment: &Environment) -> Result<Self, HopError> {
        let control = match Control::find(&WantedProxy::Usual(None), environment) {
            Ok(control) => control,
            Err(error @ NoProxy::Silent { .. }) => {
                return Err(HopError::NotFound(error.to_string()));
            }
            Err(
                NoProxy::NotRunning(others)
                | NoProxy::Missing(_, others)
                | NoProxy::Ambiguous(others),
            ) => {
                return Err(NoTarget::NoFiles(others).into());
            }
        };
        let source = control.source();
        if !matches!(source, Source::Path(_)) {
            return Err(match control.identity.has_hops_of_command_line {
                true => NoTarget::HopsOfCommandLine(control.others),
                false => NoTarget::NoFiles(control.others),
            }
            .into());
        }
        let target = SwitchTarget::find(&source, name)?;
        Ok(Self { source, target, running: vec![control], is_uncertain: true })
    }

    /// Finds every proxy of this user that reads the file of `target`.
    ///
    /// # Errors
    /// None is found, and one that does not answer may be one.
    fn readers(
        source: &Source,
        target: &SwitchTarget,
        environment: &Environment,
    ) -> Result<Vec<Control>, HopError> {
        let Source::Path(path) = source else { return Ok(Vec::new()) };
        let wanted = WantedProxy::ReaderOf { config: path.clone(), file: target.path.clone() };
        Control::all(&wanted, environment)
            .map_err(|error| HopError::NotFound(format!("{error}\nNothing was changed")))
    }
}
