//! The line of the log about a request or tunnel that has ended.
//!
//! The fields are written twice: as an event of `tracing`, for terminals and for programs that embed the proxy and have
//! a log of their own, and as calls that write the same line [directly](DirectLog), which is many times cheaper.

use std::{fmt, time::Duration};

use tracing::{Level, event_enabled, field::display, info, warn};

use crate::{
    log::{DirectLog, LogLine},
    state::connections::OpenConnection,
    upstream::chain::Passage,
};

/// The facts about a request or tunnel that has ended.
pub(super) struct AccessLine<'a> {
    row: &'a OpenConnection,
    status: u16,
    passage: Passage,
    duration: Duration,
}

/// The end of a request or tunnel that reached its target.
#[derive(Clone, Copy)]
pub(super) struct Passed<'a> {
    /// The message of the line.
    pub message: &'static str,
    /// Bytes from the client that were passed on.
    pub sent: u64,
    /// Bytes to the client.
    pub received: u64,
    /// How it ended.
    pub end: &'a dyn fmt::Display,
    /// Why it ended like that, if there is more to say.
    pub reason: Option<&'a str>,
}

/// The end of a request or tunnel that did not.
#[derive(Clone, Copy)]
pub(super) struct Failed<'a> {
    /// The hop that is responsible, if it is not the target.
    pub hop: Option<&'a str>,
    /// The step that failed, if it is known.
    pub stage: Option<&'static str>,
    /// The reason.
    pub error: &'a str,
    /// The advice that the client gets.
    pub advice: Option<&'a str>,
}

impl<'a> AccessLine<'a> {
    /// Describes `row`, whose client was sent `status`.
    pub(super) fn new(row: &'a OpenConnection, status: u16) -> Self {
        Self { row, status, passage: row.passage(), duration: row.lasted() }
    }

    /// Logs that it reached its target.
    pub(super) fn passed(&self, end: Passed<'_>, log: Option<&DirectLog>) {
        if !event_enabled!(Level::INFO) {
            return;
        }
        let Passed { message, sent, received, end, reason } = end;
        // Both ways write the same fields in the same order. The direct one comes first, since an
        // event costs about half of the instructions of a plain request.
        let is_written = log.is_some_and(|log| {
            log.write(Level::INFO, message, |line| {
                self.write_request(line);
                line.number("sent", sent);
                line.number("received", received);
                self.write_times(line);
                line.display("end", end);
                if let Some(reason) = reason {
                    line.text("reason", reason);
                }
            })
        });
        if is_written {
            return;
        }
        // Without a direct log: a terminal wants colours, and an embedding program its own events.
        let Self { row, status, passage, .. } = self;
        let OpenConnection { id, peer: client, method, target, route, chain, .. } = row;
        let (protocol, hops) = (row.protocol_name(), passage.hops(chain).map(display));
        let (session, generation) = (self.session(), row.generation.number());
        let (duration, duration_seconds) = (self.duration, seconds(self.duration));
        let connect_seconds = passage.connect.get().map(seconds);
        let (chain, attempts) = (chain.name(), passage.attempts);
        info!(
            id, %client, %protocol, %method, %target, route, %chain, hops, session, generation, status, sent, received,
            ?duration, duration_seconds, connect_seconds, attempts, %end, reason, "{message}"
        );
    }

    /// Logs that it failed before the target answered.
    pub(super) fn failed(&self, failed: Failed<'_>, log: Option<&DirectLog>) {
        if !event_enabled!(Level::WARN) {
            return;
        }
        let Failed { hop, stage, error, advice } = failed;
        // As in `passed`, with the hop and the step in place of the bytes.
        let is_written = log.is_some_and(|log| {
            log.write(Level::WARN, FAILED, |line| {
                self.write_request(line);
                self.write_times(line);
                if let Some(hop) = hop {
                    line.display("hop", &hop);
                }
                if let Some(stage) = stage {
                    line.word("stage", stage);
                }
                line.text("error", error);
                if let Some(advice) = advice {
                    line.text("advice", advice);
                }
            })
        });
        if is_written {
            return;
        }
        let Self { row, status, passage, .. } = self;
        let OpenConnection { id, peer: client, method, target, route, chain, .. } = row;
        let (protocol, hops) = (row.protocol_name(), passage.hops(chain).map(display));
        let (session, generation) = (self.session(), row.generation.number());
        let (duration, duration_seconds) = (self.duration, seconds(self.duration));
        let connect_seconds = passage.connect.get().map(seconds);
        let (chain, attempts) = (chain.name(), passage.attempts);
        let (hop, stage) = (hop.map(display), stage.map(display));
        warn!(
            id, %client, %protocol, %method, %target, route, %chain, hops, session, generation, status, ?duration,
            duration_seconds, connect_seconds, attempts, hop, stage, error, advice, "{FAILED}"
        );
    }

    /// Returns the session that the client named, or [`NO_SESSION`] if a hop on the way would have had use for one.
    fn session(&self) -> Option<&str> {
        let no_session = || self.passage.without_session.is_some().then_some(NO_SESSION);
        self.row.session.as_deref().or_else(no_session)
    }

    /// Writes what was asked for and which way it went.
    fn write_request(&self, line: &mut LogLine<'_>) {
        let Self { row, status, passage, .. } = self;
        line.number("id", row.id);
        line.socket("client", row.peer);
        line.word("protocol", row.protocol_name());
        line.display("method", &row.method);
        line.authority("target", &row.target);
        line.number("route", u64::from(row.route));
        line.display("chain", row.chain.name());
        // A field without a value is left out, as an event of `tracing` leaves it out.
        if let Some(hops) = passage.hops(&row.chain) {
            line.display("hops", &hops);
        }
        if let Some(session) = self.session() {
            line.text("session", session);
        }
        line.number("generation", row.generation.number());
        line.number("status", u64::from(*status));
    }

    fn write_times(&self, line: &mut LogLine<'_>) {
        let Self { passage, duration, .. } = self;
        line.duration("duration", *duration);
        line.seconds("duration_seconds", *duration);
        if let Some(connect) = passage.connect.get() {
            line.seconds("connect_seconds", connect);
        }
        line.number("attempts", u64::from(passage.attempts));
    }
}

/// Returns seconds, to the microsecond.
fn seconds(duration: Duration) -> f64 {
    duration.as_micros() as f64 / 1e6
}

/// The placeholder for a session that the client did not name. No session can have this name.
const NO_SESSION: &str = "(none)";
const FAILED: &str = "request failed";

#[cfg(test)]
mod tests {
    use std::{
        io,
        path::Path,
        sync::{Arc, Mutex},
        task::Waker,
    };

    use mooltiroute_hops::kinds;
    use tracing::subscriber::with_default;
    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;
    use crate::{
        config::{Environment, Loader, LogFormat, Overrides, Protocol, Source},
        router::Query,
        state::{
            connections::{ConnectionFacts, Connections, Registration},
            generation::Generation,
        },
        upstream::chain::TakenHop,
    };

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Written {
        fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
        }
    }

    fn registered(yaml: &str, session: Option<&str>) -> Registration {
        let source = Source::Text(yaml.into());
        let environment = Environment::new(|_| None, Path::new(""));
        let loader = Loader::new(source, Overrides::default(), kinds::builtin(), environment);
        let generation = Arc::new(Generation::new(1, loader.load().unwrap(), vec![]));
        let target = "target.example:443".parse().unwrap();
        let way = generation.way(&Query { target: &target }).unwrap();
        let (peer, protocol, method) =
            ("127.0.0.1:5000".parse().unwrap(), Protocol::Http, "CONNECT");
        let generation = &generation;
        let facts =
            ConnectionFacts { peer, protocol, method, target: &target, way, generation, session };
        Arc::new(Connections::default()).register(facts, Waker::noop())
    }

    /// Returns the lines that `log` writes as events of `tracing`, and directly.
    fn both_ways(format: LogFormat, log: impl Fn(Option<&DirectLog>)) -> (String, String) {
        let (events, lines) = (Written::default(), Written::default());
        let (direct, flush) = DirectLog::to(lines.clone(), format);
        let writer = events.clone();
        let layer = DirectLog::events(move || writer.clone(), format);
        with_default(tracing_subscriber::registry().with(layer), || {
            log(None);
            log(Some(&direct));
        });
        drop(flush);
        (events.text(), lines.text())
    }

    #[track_caller]
    fn check(line: &AccessLine<'_>, expected: &str) {
        let end = &"client left";
        let reason = Some("waited 4 s for `a`");
        let passed = Passed { message: "tunnel closed", sent: 4, received: 5, end, reason };
        let failed = Failed {
            hop: Some("b"),
            stage: Some("dial"),
            error: "no \"way\"",
            advice: Some("Go."),
        };
        let log = |log: Option<&DirectLog>| {
            line.passed(passed, log);
            line.failed(failed, log);
        };
        let (events, lines) = both_ways(LogFormat::Text, log);
        for (event, line) in events.lines().zip(lines.lines()) {
            assert_eq!(event.split_once('Z').unwrap().1, line.split_once('Z').unwrap().1);
        }
        assert_eq!(lines.lines().next().unwrap().split_once('Z').unwrap().1, expected);
        let (events, lines) = both_ways(LogFormat::Json, log);
        let parsed = |text: &str| {
            let values = text.lines().map(|line| serde_json::from_str(line).unwrap());
            let mut values: Vec<serde_json::Value> = values.collect();
            values.iter_mut().for_each(|value| value["timestamp"] = "now".into());
            values
        };
        assert_eq!(parsed(&events), parsed(&lines));
        assert_eq!(parsed(&lines).len(), 2);
    }

    #[test]
    fn a_line_is_the_same_as_an_event_and_written_directly() {
        let duration = Duration::from_micros(1_234_567);
        let direct = registered("chains: { default: [] }\n", None);
        let passage = Passage::default();
        check(
            &AccessLine { row: direct.row(), status: 200, passage, duration },
            "  INFO tunnel closed id=1 client=127.0.0.1:5000 protocol=http method=CONNECT \
             target=target.example:443 route=1 chain=default generation=1 status=200 sent=4 received=5 \
             duration=1.234567s duration_seconds=1.234567 attempts=0 end=\"client left\" reason=\"waited 4 s for `a`\"",
        );
        let hops = "hops:\n  a: { kind: http-connect, address: \"a.test:1\" }\n  \
                    b: { kind: pool, members: [a, a] }\nchains: { default: [a, b] }\n";
        let hops = registered(hops, Some("alice"));
        let taken = TakenHop {
            position: 1,
            member: Some("members[1]".into()),
            address: Some("b.test:2".parse().unwrap()),
            through: Box::default(),
            numbers: [1].into(),
        };
        let connect = Duration::from_micros(654_321).into();
        let passage =
            Passage { taken: Some([taken].into()), attempts: 3, connect, without_session: None };
        check(
            &AccessLine { row: hops.row(), status: 200, passage, duration },
            "  INFO tunnel closed id=1 client=127.0.0.1:5000 protocol=http method=CONNECT \
             target=target.example:443 route=1 chain=default hops=a@a.test:1,b.members[1]@b.test:2 \
             session=alice generation=1 status=200 sent=4 received=5 duration=1.234567s duration_seconds=1.234567 \
             connect_seconds=0.654321 attempts=3 end=\"client left\" reason=\"waited 4 s for `a`\"",
        );
    }
}
