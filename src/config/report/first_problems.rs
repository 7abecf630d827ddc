//! The first problems of a configuration, and the number of the rest.

use mooltiroute_hops::KeyPath;

use crate::config::report::problem::{Problem, Problems};

/// Collects problems up to a limit. Later ones are only counted, so a hostile file costs neither memory nor time.
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

    /// Adds all that `later` has collected.
    pub(crate) fn append(&mut self, later: Self) {
        self.extend(later.problems);
        self.more += later.more;
    }

    /// Returns whether the next problem would only be counted, and counts it in that case. Callers then skip building it.
    pub(crate) fn skips(&mut self) -> bool {
        let is_full = self.problems.len() >= PROBLEMS_MAX;
        self.more += usize::from(is_full);
        is_full
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.problems.is_empty()
    }

    /// Returns the number of problems, those too that were only counted.
    pub(crate) fn count(&self) -> usize {
        self.problems.len() + self.more
    }

    /// Returns the collected problems in the order of the files, and a last one that tells how many more there are.
    pub(crate) fn into_problems(mut self) -> Problems {
        sort_by_place(&mut self.problems);
        if self.more > 0 {
            let message = format!("and at least {} more", self.more);
            self.problems.push(Problem::new(&KeyPath::default(), "more", message));
        }
        Problems(self.problems)
    }
}

/// Sorts problems in the order of the files. Those without a place, such as those of options, come last.
pub(crate) fn sort_by_place(problems: &mut [Problem]) {
    // The sort is stable, so the problems of one place stay in the order in which they were found.
    problems.sort_by_key(|problem| {
        let place = problem.place.as_ref();
        (place.is_none(), place.map(|place| (place.file.clone(), place.line, place.column)))
    });
}

impl From<Problem> for Found {
    fn from(problem: Problem) -> Self {
        Self { problems: vec![problem], more: 0 }
    }
}

/// The number of problems that are shown.
const PROBLEMS_MAX: usize = 200;
