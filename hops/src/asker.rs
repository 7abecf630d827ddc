//! Hops that depend on a document from elsewhere, such as a PAC file or a list of proxies.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, SystemTime},
};

use thiserror::Error;
use zeroize::Zeroizing;

use crate::{Authority, Eventual, Field, Link, Secret, Tunnel};

/// The side of a [`Hop`](crate::Hop) that may have to ask for something before it can choose.
///
/// It asks through [`Services`], which the program gives it after the hop is built.
pub trait Asker: fmt::Debug + Send + Sync {
    /// Gives the hop `services`, which it may use for as long as it exists. Each generation that has the hop calls this before
    /// it takes effect. The first call is enough: the services find the current generation whenever they are used.
    fn attach(&self, services: Arc<dyn Services>);

    /// Returns the name of the chain through which the hop fetches its document.
    fn via(&self) -> &str;

    /// Returns the setting that names this chain, as the keys that lead to it from the hop.
    fn via_setting(&self) -> &'static [&'static str] {
        &["via"]
    }

    /// Returns the state of the document.
    fn state(&self) -> SourceState;

    /// Returns the name under which the document is [saved](Services::save) for later processes, if it is saved.
    fn saved_name(&self) -> Option<String> {
        None
    }

    /// Begins to fetch the document at an operator's request, whatever its age. Returns whether it does. Requests may wait for
    /// a short while, as after a change of the network. The present document stays in use until the fetch succeeds.
    fn fetch_now(&self) -> bool {
        false
    }

    /// Waits until the document is there or the fetch has failed, if requests need it. May begin a fetch.
    ///
    /// A request waits here before it is bound to a chain, so a reload meanwhile still counts for it. It may have to wait
    /// again in [`Hop::choose`](crate::Hop::choose).
    fn prepare(&self) -> Eventual<'static, ()> {
        Eventual::Ready(())
    }
}

/// The services that the program offers to the hop of an [`Asker`].
pub trait Services: fmt::Debug + Send + Sync {
    /// Opens a connection to `target` through the hop's [`via`](Asker::via).
    fn open(&self, target: Authority) -> Eventual<'static, Result<Tunnel, OpenError>>;

    /// Opens a connection for a GET of `uri`, in absolute-form, from `target`. It ends at the last hop of the hop's
    /// [`via`](Asker::via) if that forwards plain requests, and at `target` otherwise.
    ///
    /// Many proxies refuse CONNECT to port 80, and take a plain request instead.
    fn open_plain(
        &self,
        target: Authority,
        uri: Secret,
    ) -> Eventual<'static, Result<PlainConnection, OpenError>>;

    /// Returns a number that differs after each change of the network.
    fn network_epoch(&self) -> u64;

    /// Returns how long a request may wait for a document that it needs: `timeouts.connect`.
    fn patience(&self) -> Duration;

    /// Tells operators that a document was read, or could not be used.
    fn report(&self, kind: SourceKind, source: &str, news: SourceNews<'_>);

    /// Passes a message of the document itself on to operators.
    fn said(&self, text: &str);

    /// Returns the document that was last [saved](Self::save) under `name`, perhaps by an earlier process. May block.
    fn saved(&self, _name: &str) -> Option<SavedDocument> {
        None
    }

    /// Saves a document for later processes. It may hold credentials. May block.
    ///
    /// `name` consists of letters, digits and `-`, and tells nothing about the document.
    fn save(&self, _name: &str, _document: &SavedDocument) {}

    /// Notes that the document saved under `name` is still current. May block.
    fn confirm(&self, _name: &str) {}
}

/// A document as its server sent it, saved for a later process.
#[derive(Clone, PartialEq, Eq)]
pub struct SavedDocument {
    /// Its content, which may be credentials.
    pub bytes: Zeroizing<Vec<u8>>,
    /// The encoding that the server named.
    pub charset: Option<String>,
    /// The validators by which its server recognises it.
    pub validators: Validators,
    /// When it was read.
    pub loaded: SystemTime,
}

/// The validators of a version of a document (RFC 9110 §8.8). A request with them asks only for a newer version.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Validators {
    /// The value of `ETag`.
    pub etag: Option<String>,
    /// The value of `Last-Modified`, as the server wrote it.
    pub last_modified: Option<String>,
}

impl fmt::Debug for SavedDocument {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SavedDocument").field("loaded", &self.loaded).finish_non_exhaustive()
    }
}

/// A connection that carries one plain request.
#[derive(Debug)]
pub struct PlainConnection {
    /// The connection.
    pub tunnel: Tunnel,
    /// The hop that it ends at. `None` if it ends at the target.
    pub forwarder: Option<Forwarder>,
}

/// A hop that is to forward a plain request.
#[derive(Debug)]
pub struct Forwarder {
    /// Its name.
    pub name: Arc<str>,
    /// The link that serves the request.
    pub link: Arc<dyn Link>,
    /// The fields that it needs in the request, as [`Link::authorize`] made them.
    pub fields: Arc<[Field]>,
}

/// Why a connection could not be opened, in words.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct OpenError(pub String);

/// A kind of document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SourceKind {
    /// A script that chooses among hops.
    PacFile,
    /// A list of proxies.
    List,
}

/// The outcome of reading a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SourceNews<'a> {
    /// The document is in use.
    Loaded {
        /// The number of members of a list.
        members: Option<usize>,
        /// The number of members that the list before it had, if it follows one.
        before: Option<usize>,
    },
    /// The document that an earlier process saved is in use until a fetch succeeds.
    Restored(KeptDocument),
    /// The document that an earlier process saved can't be used, for this reason.
    NotRestored(&'a str),
    /// The document is in use except for some parts, for this reason.
    Doubtful(&'a str),
    /// The new document can't be used. The last good one stays in use, if there is one.
    NotLoaded {
        /// The reason.
        problem: &'a str,
        /// The document that stays in use.
        kept: Option<KeptDocument>,
        /// The time after which a request asks for it again.
        retry: Duration,
    },
}

/// A document that is in use although it was not fetched just now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeptDocument {
    /// When it was read.
    pub loaded: SystemTime,
    /// The number of members of a list.
    pub members: Option<usize>,
}

/// The state of a document.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SourceState {
    /// The kind of document.
    pub kind: SourceKind,
    /// The file or URL that it is read from, as far as that may be shown.
    pub source: String,
    /// When the document in use was read. `None` if none is in use.
    pub loaded: Option<SystemTime>,
    /// The number of members in the list that is in use.
    pub members: Option<usize>,
    /// The number of members that the list before it had. `None` if it is the first one.
    pub members_before: Option<usize>,
    /// When the last fetch ended, with or without success.
    pub checked: Option<SystemTime>,
    /// When the last successful fetch ended, even if the document had not changed.
    pub confirmed: Option<SystemTime>,
    /// The time after which a request fetches it again.
    pub retry: Option<Duration>,
    /// Why the last attempt to read it failed, if it did.
    pub problem: Option<String>,
    /// Why a part of the document in use was left out, if it was.
    pub doubt: Option<String>,
}

impl SourceState {
    /// Describes a document that was not asked for yet.
    pub fn new(kind: SourceKind, source: String) -> Self {
        Self {
            kind,
            source,
            loaded: None,
            members: None,
            members_before: None,
            checked: None,
            confirmed: None,
            retry: None,
            problem: None,
            doubt: None,
        }
    }
}
