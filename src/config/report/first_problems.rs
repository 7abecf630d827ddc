//! The problems that are found, as far as anybody reads.

use mooltiroute_hops::KeyPath;

use crate::config::report::problem::{Problem, Problems};

/// The first problems that are found; those after them are counted, and cost neither memory nor advice.
#[derive(Debug, Default)]
pub(crate) struct Found {
    problems: Vec<Problem>,
    more: usize,
}

impl Found {
    pub(crate) fn push(&mut self, problem: Problem) {
        if !self.skips() {
            self.problems.push(problem);
        }
    }

    pub(crate) fn extend(&mut self, problems: impl IntoIterator<Item = Problem>) {
        problems.into_iter().for_each(|problem| self.push(problem));
    }

    /// Takes over what `later` has found.
    pub(crate) fn append(&mut self, later: Self) {
        self.extend(later.problems);
        self.more += later.more;
    }

    /// Whether the next problem need not be made, as it is only counted; it is counted then.
    pub(crate) fn skips(&mut self) -> bool {
        let is_full = self.problems.len() >= PROBLEMS_MAX;
        self.more += usize::from(is_full);
        is_full
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.problems.is_empty()
    }

    /// What was found, in the order of the files, and how much more there is.
    pub(crate) fn into_problems(mut self) -> Problems {
        self.problems.sort_by_key(|problem| {
            let place = problem.place.as_ref();
            (place.is_none(), place.map(|place| (place.file.clone(), place.line, place.column)))
        });
        if self.more > 0 {
            let message = format!("and at least {} more", self.more);
            self.problems.push(Problem::new(&KeyPath::default(), "more", message));
        }
        Problems(self.problems)
    }
}

impl From<Problem> for Found {
    fn from(problem: Problem) -> Self {
        Self { problems: vec![problem], more: 0 }
    }
}

/// After this many the rest is noise.
const PROBLEMS_MAX: usize = 200;
