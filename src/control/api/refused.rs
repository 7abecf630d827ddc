//! Reasons to refuse a call.

use serde_json::json;

use super::ApiCall;

/// The reason why a request gets no answer.
#[derive(Debug)]
pub(crate) enum Refused {
    /// It can't be understood.
    BadRequest(String),
    /// It carries the marks of a web page.
    FromAPage,
    /// There is nothing at this path.
    NotFound,
    /// The path takes another method.
    Method(&'static str),
    /// The body is too long.
    TooLarge,
    /// The proxy is shutting down.
    Ending,
    /// The answer could not be made.
    Failed(String),
}

impl Refused {
    /// Returns the status line's end.
    pub(crate) fn status(&self) -> &'static str {
        match self {
            Self::BadRequest(_) => "400 Bad Request",
            Self::FromAPage => "403 Forbidden",
            Self::NotFound => "404 Not Found",
            Self::Method(_) => "405 Method Not Allowed",
            Self::TooLarge => "413 Content Too Large",
            Self::Ending => "503 Service Unavailable",
            Self::Failed(_) => "500 Internal Server Error",
        }
    }

    /// Returns the explanation as JSON.
    pub(crate) fn body(&self) -> Vec<u8> {
        let error = match self {
            Self::BadRequest(why) | Self::Failed(why) => why.clone(),
            Self::FromAPage => "no web page may use the control socket".to_owned(),
            Self::NotFound => {
                format!(
                    "there is nothing at this path; the control socket has {}",
                    ApiCall::paths()
                )
            }
            Self::Method(method) => format!("use {method}"),
            Self::TooLarge => "the body is too long".to_owned(),
            Self::Ending => "the proxy is shutting down".to_owned(),
        };
        json!({ "error": error }).to_string().into_bytes()
    }
}

pub(super) fn failed(error: impl ToString) -> Refused {
    Refused::Failed(error.to_string())
}
