//! Chooses the text format of metrics for a scraper by its `Accept` field (RFC 9110 §12.5.1).

use crate::http::Fields;

/// A text format of metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MetricsFormat {
    /// Prometheus's own format, which every scraper reads.
    Prometheus,
    /// OpenMetrics 1.0, for scrapers that name it.
    OpenMetrics,
}

impl MetricsFormat {
    /// Chooses the format for a request with these `fields`: OpenMetrics if the client names it and likes plain text no
    /// better, Prometheus's format otherwise.
    pub(crate) fn accepted_by(fields: &Fields) -> Self {
        let mut open_metrics = 0;
        // The most specific range that matches plain text decides (RFC 9110 §12.5.1).
        let mut text = Weight { specificity: 0, thousandths: 0 };
        for range in fields.values("Accept").flat_map(|value| value.split(|byte| *byte == b',')) {
            let Some(range) = str::from_utf8(range).ok().and_then(MediaRange::parse) else {
                continue;
            };
            let thousandths = range.thousandths;
            match (&*range.media_type, range.version) {
                ("application/openmetrics-text", None | Some("1.0.0")) => {
                    open_metrics = thousandths.max(open_metrics);
                }
                ("text/plain", None | Some("0.0.4")) => text.note(3, thousandths),
                ("text/*", _) => text.note(2, thousandths),
                ("*/*", _) => text.note(1, thousandths),
                _ => {}
            }
        }
        // A scraper without `Accept`, such as curl or promtool, gets the format that all of them
        // read.
        if open_metrics > 0 && open_metrics >= text.thousandths {
            Self::OpenMetrics
        } else {
            Self::Prometheus
        }
    }

    /// Returns the value of `Content-Type`.
    pub(crate) fn content_type(self) -> &'static str {
        match self {
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// How much a client likes a media type, and how specific the range was that said so.
struct Weight {
    specificity: u8,
    thousandths: u16,
}

impl Weight {
    fn note(&mut self, specificity: u8, thousandths: u16) {
        if specificity > self.specificity {
            *self = Self { specificity, thousandths };
        } else if specificity == self.specificity {
            self.thousandths = self.thousandths.max(thousandths);
        }
    }
}

/// One member of an `Accept` list.
struct MediaRange<'a> {
    media_type: String,
    version: Option<&'a str>,
    /// The weight `q`, in thousandths.
    thousandths: u16,
}

impl<'a> MediaRange<'a> {
    /// Parses one member; `None` if its weight is malformed.
    fn parse(text: &'a str) -> Option<Self> {
        let mut parts = text.split(';').map(str::trim);
        let media_type = parts.next()?.to_ascii_lowercase();
        let mut range = Self { media_type, version: None, thousandths: 1000 };
        for (name, value) in parts.filter_map(|part| part.split_once('=')) {
            if name.eq_ignore_ascii_case("q") {
                let weight: f32 = value.parse().ok()?;
                if !(0.0..=1.0).contains(&weight) {
                    return None;
                }
                range.thousandths = (weight * 1000.0).round() as u16;
            } else if name.eq_ignore_ascii_case("version") {
                range.version = Some(value.trim_matches('"'));
            }
        }
        Some(range)
    }
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;

    use super::{MetricsFormat::*, *};
    use crate::http::{HeadLimits, HeadReader};

    #[track_caller]
    fn check(fields: &str, expected: MetricsFormat) {
        let text = format!("GET /metrics HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n");
        let head = HeadReader::new(HeadLimits::default()).request(&mut BytesMut::from(&*text));
        let head = head.unwrap().unwrap();
        assert_eq!(MetricsFormat::accepted_by(head.fields()), expected, "{fields}");
    }

    #[test]
    fn open_metrics_is_for_clients_that_name_it() {
        check("", Prometheus);
        check("Accept: */*\r\n", Prometheus);
        check("Accept: text/plain\r\n", Prometheus);
        check("Accept: application/*\r\n", Prometheus);
        check("Accept: application/openmetrics-text\r\n", OpenMetrics);
        check("Accept: Application/OpenMetrics-Text; Version=1.0.0\r\n", OpenMetrics);
        check("Accept: application/openmetrics-text; version=2.0.0\r\n", Prometheus);
        check("Accept: application/openmetrics-text;version=\"1.0.0\", */*\r\n", OpenMetrics);
        check("Accept: text/html\r\nAccept: application/openmetrics-text\r\n", OpenMetrics);
    }

    #[test]
    fn the_weights_decide_between_the_two() {
        // As Prometheus asks.
        check(
            "Accept: application/openmetrics-text;version=1.0.0;q=0.5,\
             application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2\r\n",
            OpenMetrics,
        );
        check("Accept: application/openmetrics-text;q=0.2, text/plain\r\n", Prometheus);
        check("Accept: application/openmetrics-text;q=0.2, */*\r\n", Prometheus);
        check("Accept: application/openmetrics-text;q=0.2, */*, text/plain;q=0.1\r\n", OpenMetrics);
        check("Accept: application/openmetrics-text;q=0\r\n", Prometheus);
        check("Accept: application/openmetrics-text;q=0, text/plain;q=0\r\n", Prometheus);
    }

    #[test]
    fn malformed_weights_ask_for_nothing() {
        for weight in ["2", "-1", "x", "", "nan", "inf"] {
            check(&format!("Accept: application/openmetrics-text;q={weight}\r\n"), Prometheus);
        }
        check("Accept: ,;,\u{ff}, application/openmetrics-text\r\n", OpenMetrics);
    }
}
