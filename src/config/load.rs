//! Loads files into a configuration, at the start and for each reload.

mod client_view;
mod overrides;
mod part;

use std::{
    collections::BTreeSet,
    hash::RandomState,
    path::{Path, PathBuf},
    sync::Arc,
};

use mooltiroute_hops::{FileContents, KeyPath, Registry};

pub(crate) use self::client_view::ClientView;
pub use self::overrides::Overrides;
use crate::config::{
    Config, Environment, Problem, Problems, ServerConfig, Source,
    edit::EditedFile,
    hop_url::{in_terms_of_urls, url_in_words},
    report::first_problems::Found,
    resolve::Resolver,
    source::{KeptTexts, Text, without_links},
    yaml::{file::Part, tree::Tree},
};
use crate::network::Network;

/// A configuration that may be invalid.
struct ResolvedTexts {
    config: Config,
    problems: Found,
    /// The files beside the YAML that settings name.
    named: Vec<PathBuf>,
    /// The contents of those that could be read.
    contents: FileContents,
    /// Whether the configuration is invalid and some key's indentation suggests that it belongs elsewhere.
    is_mendable: bool,
}

/// Loads one source, as often as needed.
#[derive(Clone, Debug)]
pub struct Loader {
    pub(crate) source: Source,
    overrides: Overrides,
    pub(crate) registry: Registry,
    pub(crate) environment: Environment,
    /// The key of all hashes, so that a hash reveals nothing about its value.
    pub(crate) hasher: RandomState,
    /// The facts that decide the conditions of hops. Nothing here asks for any but the list of interfaces.
    pub(crate) network: Arc<Network>,
}

impl Loader {
    /// Creates a loader of `source`, for hops of the kinds in `registry`.
    pub fn new(
        source: Source,
        overrides: Overrides,
        registry: Registry,
        environment: Environment,
    ) -> Self {
        Self {
            source,
            overrides,
            registry,
            environment,
            hasher: RandomState::new(),
            network: Arc::default(),
        }
    }

    /// Returns the variables and the directory that the configuration depends on.
    pub fn environment(&self) -> &Environment {
        &self.environment
    }

    /// Returns the source.
    pub fn source(&self) -> &Source {
        &self.source
    }

    /// Reads all files again. Opens no connection.
    ///
    /// # Errors
    /// All problems of all files, in order.
    pub fn load(&self) -> Result<Config, Problems> {
        self.load_and_list().0
    }

    /// Loads as [`load`](Self::load) does, and also returns the files beside the YAML that settings name, such as a
    /// `password_file`. The list may be incomplete if the configuration is invalid.
    pub(crate) fn load_and_list(&self) -> (Result<Config, Problems>, Vec<PathBuf>) {
        let (texts, problems) = self.source.read();
        self.load_texts(Arc::new(texts.into()), problems)
    }

    /// Builds the configuration of `texts`, which were read before, for the present facts about the network. Uses the contents of
    /// before of the files that settings name, too: what is on the disk by now may be half-written or invalid.
    pub(crate) fn load_kept(&self, texts: Arc<KeptTexts>) -> Result<Config, Problems> {
        self.load_texts(texts, Problems::default()).0
    }

    /// Loads the configuration as it would be with `edit`.
    ///
    /// # Errors
    /// As [`load`](Self::load), and if the configuration has no such file.
    pub(crate) fn load_edited(&self, edit: &EditedFile) -> Result<Config, Problems> {
        let (mut texts, problems) = self.source.read();
        // A file of the configuration may be a link, and the edit names what it leads to. If two links lead
        // to one file, the edit is in both.
        let is_edited = |text: &&mut Text| {
            without_links(Path::new(&*text.name)).is_ok_and(|path| path == edit.path)
        };
        let mut edited = texts.iter_mut().filter(is_edited).peekable();
        if edited.peek().is_none() {
            let name = edit.path.display();
            let message = format!("{name}: this is not a file of the configuration");
            return Err(Problem::new(&KeyPath::default(), "source", message).into());
        }
        edited.for_each(|text| text.text.clone_from(&edit.text));
        self.load_texts(Arc::new(texts.into()), problems).0
    }

    fn load_texts(
        &self,
        kept: Arc<KeptTexts>,
        Problems(unreadable): Problems,
    ) -> (Result<Config, Problems>, Vec<PathBuf>) {
        let written = self.resolve_texts(&kept, unreadable.clone(), false);
        // Only an invalid configuration is mended, so that no guess can change the meaning of a valid one. A guess that
        // leaves more problems than before is dropped.
        let mended = written.is_mendable.then(|| self.resolve_texts(&kept, unreadable, true));
        let fewest = |written: ResolvedTexts| match mended {
            Some(mended) if mended.problems.count() <= written.problems.count() => mended,
            _ => written,
        };
        let ResolvedTexts { mut config, problems, named, contents, .. } = fewest(written);
        if config.hops.iter().any(|hop| hop.condition.is_some()) {
            // A change of the network builds the configuration again from the texts in force. What is on disk
            // by then may be invalid.
            config.written = Some(Arc::new(kept.with_files(contents)));
        }
        match problems.is_empty() {
            true => (Ok(config), named),
            false => (Err(self.advise_whole(self.shown(problems.into_problems()))), named),
        }
    }

    /// Resolves `kept`. With `mends`, keys that are indented too little or too much are read as if they were indented
    /// correctly, and each such mistake is a problem.
    fn resolve_texts(
        &self,
        kept: &KeptTexts,
        unreadable: Vec<Problem>,
        mends: bool,
    ) -> ResolvedTexts {
        let (mut tree, faults) = Tree::new(kept.copy());
        let mut problems = Found::default();
        problems.extend(unreadable);
        problems.append(faults);
        // A missing name may be defined in the file that can't be read.
        let is_complete = problems.is_empty();
        // Before anything is resolved: a value of the command line is checked like one of a file, and a hop
        // that is disabled there may have unset variables.
        self.apply_overrides(&mut tree);
        let mut resolver = Resolver::new(self, &mut tree, is_complete);
        resolver.use_contents(kept.files());
        resolver.mends = mends;
        let mut config = resolver.resolve();
        if let Source::CommandLine { text, .. } = &self.source {
            for hop in &mut config.hops {
                hop.url = Some(url_in_words(&hop.name, text).into());
            }
        }
        let warnings = std::mem::take(&mut config.warnings);
        config.warnings = self.shown(Problems(warnings)).0;
        let (named, contents) = (resolver.named_files(), resolver.contents());
        problems.append(resolver.problems);
        config.warnings.extend(self.source.doubtful_files(&named));
        // An option may name a hop of the file that could not be read.
        if is_complete {
            problems.extend(self.misused_options(&tree));
        }
        let is_mendable = !problems.is_empty() && tree.is_mendable();
        ResolvedTexts { config, problems, named, contents, is_mendable }
    }

    /// Puts problems into the terms of what the operator wrote: files, or URLs on the command line.
    fn shown(&self, problems: Problems) -> Problems {
        let Source::CommandLine { text, .. } = &self.source else { return problems };
        Problems(problems.0.into_iter().map(|problem| in_terms_of_urls(problem, text)).collect())
    }

    /// Returns the section `server` as far as it can be read, whatever else is wrong.
    pub fn server(&self) -> ServerConfig {
        Resolver::new(self, &mut self.readable(), false).resolve().server
    }

    /// Returns the variables that the configuration uses, also those with a default, without those of hops that are
    /// switched off. The configuration may be invalid.
    pub(crate) fn used_variables(&self) -> BTreeSet<String> {
        let mut tree = self.readable();
        let mut resolver = Resolver::new(self, &mut tree, false);
        let _ = resolver.resolve();
        resolver.used_variables
    }

    /// Returns a problem with the value at `path`, which is located in the current files.
    pub(crate) fn problem_at(
        &self,
        path: &KeyPath,
        code: &'static str,
        message: String,
    ) -> Problem {
        self.readable().problem(path, Part::Value, code, message)
    }

    /// Reads the files again, and leaves out the parts that can't be read.
    fn readable(&self) -> Tree {
        let (texts, _) = self.source.read();
        let (mut tree, _) = Tree::new(texts);
        self.apply_overrides(&mut tree);
        tree
    }

    /// Returns the keys at `path`, as far as the files can be read.
    pub(crate) fn names(&self, path: &KeyPath) -> Vec<String> {
        let (texts, _) = self.source.read();
        Tree::new(texts).0.names(path).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests;
