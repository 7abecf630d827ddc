//! Reads the files until they are at rest.

use std::sync::Arc;

use mooltiroute_hops::thread_pool;

use super::{Reloads, messages::emptied};
use crate::{config::Config, control::verdict::ToldProblem};

impl Reloads {
    /// Loads the files, repeatedly until none has changed meanwhile and every file that they name is watched.
    ///
    /// Returns `None` if they don't come to rest; the next event calls for another attempt.
    pub(super) async fn load(&mut self) -> Option<Result<Config, Vec<ToldProblem>>> {
        for _ in 0..LOADS_MAX {
            if let Some(watch) = &self.watch
                && !watch.emptied().is_empty()
            {
                let source = self.loader.source();
                let files = watch.emptied().iter();
                return Some(Err(files.map(|file| emptied(&source.as_written(file))).collect()));
            }
            let loader = Arc::clone(&self.loader);
            let (loaded, files) = match thread_pool::run(move || loader.load_and_list()).await {
                Ok(loaded) => loaded,
                Err(panicked) => {
                    return Some(Err(vec![ToldProblem::line(panicked.to_string())]));
                }
            };
            if let Some(watch) = &mut self.watch {
                // `set_named` comes first, so that a file that is named is watched even if the files change again.
                // If it was not watched before, or anything differs from the look that was taken before the load,
                // the texts may be of different moments. Their mixture may be valid and mean the wrong thing, so
                // they are dropped.
                let is_news = match &loaded {
                    Ok(_) => watch.set_named(&files),
                    // A file that can't be read as YAML may name more, such as a list. Its edits are still edits.
                    Err(_) => watch.add_named(&files),
                };
                if is_news || !watch.is_undisturbed().await {
                    watch.complete_again().await;
                    continue;
                }
            }
            return Some(loaded.map_err(|problems| ToldProblem::all(&problems)));
        }
        None
    }
}

/// How often files that change while they are read are read again.
const LOADS_MAX: usize = 20;
