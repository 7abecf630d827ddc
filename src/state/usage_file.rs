//! The file in which usage is kept.

use crate::{
    config::{Environment, Source},
    usage::UsageFile,
};

/// Returns the file for the configuration from `source`, or `None` if the configuration is not in files or the user has no
/// directory for such files.
///
/// The directory is the one that systemd gives a service, or else that of the user.
pub(crate) fn usage_file(source: &Source, environment: &Environment) -> Option<UsageFile> {
    let configuration = match source {
        Source::Path(path) => Some(&**path),
        Source::Embedded => None,
        Source::Text(_) | Source::CommandLine { .. } => return None,
    };
    Some(UsageFile::of(configuration, &environment.state_directory()?))
}
