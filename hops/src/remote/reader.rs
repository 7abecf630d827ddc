//! Turns a document into the value that a hop uses.

use std::{fmt, sync::Arc};

use super::{LoadProblem, RemoteBody};
use crate::SourceKind;

/// Turns a document into the value that a hop uses.
pub(crate) trait Reader: fmt::Debug + Send + Sync + 'static {
    /// The value.
    type Value: fmt::Debug + Send + Sync + 'static;

    /// The kind of document.
    const KIND: SourceKind;
    /// The media types to ask for.
    const ACCEPT: &'static str;
    /// Whether the path of the URL must not be shown.
    const HIDES_URL: bool;
    /// Whether the last good document is saved, and used again by the next process until it has fetched a newer one.
    const IS_SAVED: bool;

    /// Returns the number of members that a value names, if it is a list.
    fn members(_value: &Self::Value) -> Option<usize> {
        None
    }

    /// Reads a document that differs from the last one, whose value is `last`. `epoch` identifies the network.
    ///
    /// # Errors
    /// The reason why the document can't be used. The last value stays in use.
    fn read(
        &self,
        body: RemoteBody,
        last: Option<Arc<Self::Value>>,
        epoch: u64,
    ) -> impl Future<Output = Result<ReadDocument<Self::Value>, LoadProblem>> + Send;
}

/// The value of a document.
#[derive(Debug)]
pub(crate) struct ReadDocument<V> {
    /// The value.
    pub(crate) value: V,
    /// Why a part of the document was left out, if it was.
    pub(crate) doubt: Option<String>,
}
