//! `mooltiroute init`: writes a commented configuration to start from.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    path::{Path, PathBuf},
    process::ExitCode,
};

use mooltiroute_hops::Registry;
use thiserror::Error;

use super::complain;
use crate::{cli::Init, config::schema};

/// The reason why no configuration was written.
#[derive(Debug, Error)]
pub enum InitError {
    /// The directory is not empty. Nothing in it was changed.
    #[error("`{}` is not empty, and nothing in it was changed; name another directory", .0.display())]
    Occupied(PathBuf),
    /// A file could not be written.
    #[error("`{}` can't be written: {cause}", path.display())]
    Write {
        /// The file or directory.
        path: PathBuf,
        /// The cause.
        #[source]
        cause: io::Error,
    },
}

/// Runs the command.
pub fn run(flags: &Init, registry: &Registry) -> ExitCode {
    let directory = &flags.directory;
    if let Err(error) = init(directory, registry) {
        return complain(&error);
    }
    let shown = directory.display();
    let written = writeln!(
        super::stdout(),
        "{shown}: written; it goes direct until its hops are enabled\n\n  \
         mooltiroute check -c {shown}\n  mooltiroute run -c {shown}\n"
    );
    match written {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => complain(&error),
    }
}

/// Writes the sample configuration into `directory`, with the schema that lets editors complete its keys.
///
/// # Errors
/// The directory is not empty, or a file can't be written.
pub fn init(directory: &Path, registry: &Registry) -> Result<(), InitError> {
    let fail = |path: &Path, cause| InitError::Write { path: path.to_owned(), cause };
    fs::create_dir_all(directory).map_err(|cause| fail(directory, cause))?;
    let mut entries = fs::read_dir(directory).map_err(|cause| fail(directory, cause))?;
    // Files of a configuration are merged, so the sample must not be added to others.
    if entries.next().is_some() {
        return Err(InitError::Occupied(directory.to_owned()));
    }
    let schema = format!("{:#}\n", schema::schema(registry));
    let sample = SAMPLE.map(|(name, text)| (name, format!("{MODELINE}{text}")));
    for (name, text) in sample.into_iter().chain([(SCHEMA, schema)]) {
        // `create_new` fails if another process has just made the file: nothing is ever overwritten.
        let path = directory.join(name);
        let written = File::create_new(&path).and_then(|mut file| file.write_all(text.as_bytes()));
        written.map_err(|cause| fail(&path, cause))?;
    }
    Ok(())
}

/// The sample: the directory `config.d` of the repository.
const SAMPLE: [(&str, &str); 4] = [
    ("10-server.yaml", include_str!("../../config.d/10-server.yaml")),
    ("20-hops.yaml", include_str!("../../config.d/20-hops.yaml")),
    ("30-chains.yaml", include_str!("../../config.d/30-chains.yaml")),
    ("40-routes.yaml", include_str!("../../config.d/40-routes.yaml")),
];

const SCHEMA: &str = "schema.json";
const MODELINE: &str = "# yaml-language-server: $schema=schema.json\n\n";
