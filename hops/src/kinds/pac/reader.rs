//! PAC files of a `url`: how they are read, and when they are fetched.

use std::{sync::Arc, time::Duration};

use mooltiroute_pac::decode;

use super::script::Script;
use crate::{
    SourceKind,
    remote::{FetchPolicy, LoadCause, LoadProblem, ReadDocument, Reader, RemoteBody},
};

/// Loads the script in a PAC file.
#[derive(Debug)]
pub(super) struct PacReader;

impl Reader for PacReader {
    type Value = Script;

    const KIND: SourceKind = SourceKind::PacFile;
    const ACCEPT: &'static str = "application/x-ns-proxy-autoconfig, */*";
    const HIDES_URL: bool = false;
    // Another network may have another file, and a stale one would send requests another way.
    const IS_SAVED: bool = false;

    async fn read(
        &self,
        body: RemoteBody,
        _last: Option<Arc<Script>>,
        epoch: u64,
    ) -> Result<ReadDocument<Script>, LoadProblem> {
        let text = decode(&body.bytes, body.charset.as_deref());
        let script = Script::load_later(&text).await.map_err(|error| {
            // A text with the name of the function is a PAC file, even if it has a syntax error.
            let is_pac_file = error.place().is_some() && text.contains("FindProxyForURL");
            let cause = if is_pac_file { LoadCause::Mistake } else { LoadCause::Content };
            LoadProblem::new(cause, error.to_string())
        })?;
        script.begin_in(epoch);
        Ok(ReadDocument { value: script, doubt: None })
    }
}

/// Browsers fetch the file after each change of the network, since another network may have another file.
pub(super) const POLICY: FetchPolicy = FetchPolicy {
    every: Duration::from_secs(10 * 60),
    patience: Duration::from_secs(10),
    follows_network: true,
};
