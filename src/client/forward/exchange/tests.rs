use std::{pin::pin, sync::Arc, time::Duration};

use mooltiroute_hops::{Preferences, kinds};
use proptest::{prelude::*, test_runner::TestCaseError};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex},
    runtime::{Builder, Runtime},
    time::{sleep, timeout},
};

use super::{
    deadlines::{PAUSE_IF_UNWANTED, QUIET},
    *,
};
use crate::{
    client::forward::upstream::UpstreamEnd,
    config::{Environment, Loader, Overrides, Source},
    http::{BodyLength, BodyReader, Decoded, HeadLimits, RequestHead, Target},
    io::lazy_timer,
    router::Query,
    state::generation::Generation,
};

/// Creates a configuration that goes direct, with these timeouts.
fn generation(timeouts: &str) -> Arc<Generation> {
    let yaml = format!("timeouts: {{ {timeouts} }}\nchains: {{ default: [] }}\n");
    let environment = Environment::new(|_| None, std::path::Path::new(""));
    let loader =
        Loader::new(Source::Text(yaml.into()), Overrides::default(), kinds::builtin(), environment);
    Arc::new(Generation::new(1, loader.load().unwrap(), vec![]))
}

fn request(text: &str) -> RequestHead {
    let mut reader = HeadReader::new(HeadLimits::default());
    reader.request(&mut BytesMut::from(text)).unwrap().unwrap()
}

/// Runs an exchange for the request `head` between two pipes of `room` bytes, whose far ends `far` plays with; returns
/// how it ended, and what was read of the client and not used.
async fn run<F, P>(
    generation: &Generation,
    head: &str,
    room: usize,
    far: F,
) -> (String, BytesMut, P)
where
    F: AsyncFnOnce(DuplexStream, DuplexStream) -> P,
{
    let head = request(head);
    let Target::Resource(resource) = head.target() else { panic!("{head:?}") };
    let way = generation.way(&Query { target: resource.authority() }).unwrap();
    let plan = Plan::new(&head, resource, way.chain, Preferences::default(), generation);
    let (mut client, client_far) = duplex(room);
    let (mut upstream, upstream_far) = duplex(room);
    let end = UpstreamEnd::at_origin(resource.authority().clone());
    let (mut client_seen, mut upstream_seen) = (BytesMut::new(), BytesMut::new());
    let mut timer = pin!(lazy_timer::timer());
    let exchange = async {
        let ending = Exchange::between(
            Outbound { plan: &plan, end: &end },
            (&mut client, &mut client_seen),
            (&mut upstream, &mut upstream_seen),
            LazyDeadline::new(timer.as_mut()),
        )
        .run(|| false)
        .await;
        let shown = match &ending {
            Ending::Whole { keeps_client, keeps_upstream } => {
                format!("whole {keeps_client} {keeps_upstream}")
            }
            ending => ending.to_string(),
        };
        // The far ends read to the end.
        let mut rest = client_seen;
        drop(upstream);
        client.shutdown().await.unwrap();
        while timeout(Duration::from_millis(1), client.read_buf(&mut rest))
            .await
            .is_ok_and(|read| read.is_ok_and(|count| count > 0))
        {}
        (shown, rest)
    };
    let ((shown, rest), played) = tokio::join!(exchange, far(client_far, upstream_far));
    (shown, rest, played)
}

fn paused() -> Runtime {
    Builder::new_current_thread().enable_time().start_paused(true).build().unwrap()
}

/// Writes `bytes` in parts of `step`, and gives others a turn after each.
async fn write(stream: &mut (impl AsyncWrite + Unpin), bytes: &[u8], step: usize) {
    for part in bytes.chunks(step.max(1)) {
        if stream.write_all(part).await.is_err() {
            return;
        }
        tokio::task::yield_now().await;
    }
}

async fn read_to_end(stream: &mut (impl AsyncRead + Unpin)) -> Vec<u8> {
    let mut all = Vec::new();
    stream.read_to_end(&mut all).await.unwrap();
    all
}

async fn read_head(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    String::from_utf8(head).unwrap()
}

/// A request's fields and body, as the client sends it, and its body as the origin gets it.
const REQUESTS: [(&str, &str, &str); 4] = [
    ("GET", "", ""),
    ("POST", "Content-Length: 11\r\n", "hello world"),
    ("PUT", "Transfer-Encoding: chunked\r\n", "5\r\nhello\r\n6\r\n world\r\n0\r\nX: y\r\n\r\n"),
    ("HEAD", "", ""),
];

/// An answer as the origin sends it, the same for the client, and whether either connection survives it.
const ANSWERS: [(&str, &str, bool); 6] = [
    (
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        true,
    ),
    (
        "HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;x=y\r\nhello\r\n0\r\nX: y\r\n\r\n",
        "HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX: y\r\n\r\n",
        true,
    ),
    (
        "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        false,
    ),
    ("HTTP/1.1 204 None\r\n\r\n", "HTTP/1.1 204 None\r\n\r\n", true),
    (
        "HTTP/1.1 304 Same\r\nContent-Length: 5\r\n\r\n",
        "HTTP/1.1 304 Same\r\nContent-Length: 5\r\n\r\n",
        true,
    ),
    (
        "HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n",
        true,
    ),
];

/// The bytes that a client may send behind its request.
const NEXT: &str = "GET http://o.test/next HTTP/1.1\r\n";

/// Returns `message` without the borders of its chunks, which depend on how its bytes came.
fn unchunked(message: &[u8]) -> String {
    let text = str::from_utf8(message).unwrap();
    let Some(framing) = text.find("chunked\r\n") else { return text.to_owned() };
    let body = framing + text[framing..].find("\r\n\r\n").unwrap() + 4;
    let (mut reader, mut seen) =
        (BodyReader::of_response(BodyLength::Chunked), BytesMut::from(&message[body..]));
    let mut whole = text[..body].to_owned();
    loop {
        match reader.decode(&mut seen).unwrap() {
            Decoded::Data(data) => whole += str::from_utf8(&data).unwrap(),
            Decoded::Trailers(trailers) => {
                whole += &format!("; {:?}", trailers.iter().collect::<Vec<_>>())
            }
            Decoded::End => return whole + "; whole",
            Decoded::NeedMore => return whole + "; cut",
        }
    }
}

fn check(
    (method, fields, body): (&str, &str, &str),
    (answer, expected, persists): (&str, &str, bool),
    (client_step, upstream_step, room): (usize, usize, usize),
) -> Result<(), TestCaseError> {
    let generation = generation("response: 5m");
    let head = format!("{method} http://o.test/ HTTP/1.1\r\nHost: x\r\n{fields}\r\n");
    let sent = format!("{method} / HTTP/1.1\r\nHost: o.test\r\n{fields}\r\n{body}");
    let is_head = method == "HEAD";
    let until_body = |text: &str| match text.rfind("\r\n\r\n") {
        Some(_) if is_head => {
            let last = text.rfind("HTTP/1.1").unwrap();
            let end = last + text[last..].find("\r\n\r\n").unwrap() + 4;
            text[..end].replace("Transfer-Encoding: chunked\r\n", "")
        }
        _ => text.to_owned(),
    };
    let (answer, expected) =
        (if is_head { until_body(answer) } else { answer.to_owned() }, until_body(expected));
    let (ending, rest, (came, told)) =
        paused().block_on(run(&generation, &head, room, async |client, mut upstream| {
            let (mut client_read, mut client_write) = tokio::io::split(client);
            let to_client = async {
                write(&mut client_write, body.as_bytes(), client_step).await;
                write(&mut client_write, NEXT.as_bytes(), client_step).await;
                // Not its end, for it waits for the answer.
                std::future::pending::<()>().await;
            };
            let origin = async {
                let end = &sent.as_bytes()[sent.len().saturating_sub(11)..];
                let mut came = Vec::new();
                while !came.ends_with(end) {
                    came.push(upstream.read_u8().await.unwrap());
                }
                write(&mut upstream, answer.as_bytes(), upstream_step).await;
                came.extend(read_to_end(&mut upstream).await);
                came
            };
            let talk = async { tokio::join!(origin, read_to_end(&mut client_read)) };
            tokio::select! {
                () = to_client => unreachable!("it waits"),
                talked = talk => talked,
            }
        }));
    prop_assert_eq!(ending, format!("whole true {persists}"));
    prop_assert_eq!(unchunked(&came), unchunked(sent.as_bytes()));
    prop_assert_eq!(unchunked(&told), unchunked(expected.as_bytes()));
    prop_assert!(NEXT.as_bytes().starts_with(&rest), "{:?} is left", rest);
    Ok(())
}

proptest! {
    #[test]
    fn every_byte_arrives_however_the_streams_are_cut(
        request in prop::sample::select(REQUESTS.as_slice()),
        answer in prop::sample::select(ANSWERS.as_slice()),
        client_step in 1_usize..40,
        upstream_step in 1_usize..200,
        room in 1_usize..100,
    ) {
        check(request, answer, (client_step, upstream_step, room))?;
    }
}

#[test]
fn every_byte_arrives_one_at_a_time() {
    for request in REQUESTS {
        for answer in ANSWERS {
            for room in [1, 4096] {
                check(request, answer, (1, 1, room)).unwrap();
            }
        }
    }
}

const GET: &str = "GET http://o.test/ HTTP/1.1\r\nHost: x\r\n\r\n";
const POST: &str = "POST http://o.test/ HTTP/1.1\r\nHost: x\r\nContent-Length: 300000\r\n\r\n";

#[tokio::test(start_paused = true)]
async fn an_answer_is_late_once_the_request_is_over() {
    let generation = generation("response: 10s, stall: 0s");
    let begun = Instant::now();
    let (ending, _, ()) = run(&generation, POST, 4096, async |mut client, mut upstream| {
        // The request takes longer than its answer may.
        for _ in 0..300 {
            sleep(Duration::from_secs(1)).await;
            client.write_all(&[b'x'; 1000]).await.unwrap();
            if begun.elapsed().as_secs() == 1 {
                read_head(&mut upstream).await;
            }
            upstream.read_exact(&mut [0; 1000]).await.unwrap();
        }
        read_to_end(&mut upstream).await;
    })
    .await;
    assert_eq!(
        (ending.as_str(), begun.elapsed().as_secs()),
        ("no answer within 10 s (`timeouts.response`)", 310)
    );
}

#[tokio::test(start_paused = true)]
async fn a_head_that_dribbles_is_late_while_the_request_is_under_way() {
    let generation = generation("response: 10s");
    let begun = Instant::now();
    let (ending, _, _client) = run(&generation, POST, 4096, async |client, mut upstream| {
        read_head(&mut upstream).await;
        upstream.write_all(b"HTTP/1.1 200 OK\r\nA: ").await.unwrap();
        while upstream.write_all(b"a").await.is_ok() {
            sleep(Duration::from_millis(500)).await;
        }
        client
    })
    .await;
    assert_eq!(
        (ending.as_str(), begun.elapsed().as_secs()),
        ("no complete head of its answer within 10 s (`timeouts.response`)", 10)
    );
}

#[tokio::test(start_paused = true)]
async fn an_answer_is_not_late_while_the_client_takes_nothing_of_an_interim_one() {
    let generation = generation("response: 10s, stall: 0s");
    let begun = Instant::now();
    let interim = format!("HTTP/1.1 103 Hi\r\nLink: {}\r\n\r\n", "a".repeat(2000));
    let (ending, _, told) = run(&generation, GET, 1000, async |mut client, mut upstream| {
        read_head(&mut upstream).await;
        upstream.write_all(interim.as_bytes()).await.unwrap();
        sleep(Duration::from_secs(60)).await;
        read_head(&mut client).await;
        String::from_utf8(read_to_end(&mut client).await).unwrap()
    })
    .await;
    assert_eq!(ending, "no answer within 10 s (`timeouts.response`)");
    assert_eq!(
        (told.as_str(), begun.elapsed().as_secs()),
        ("", 60),
        "at once, and not in its middle"
    );
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_interim_answers_pass_and_no_more() {
    let generation = generation("response: 5m");
    for (count, expected) in
        [(10_000, "whole true true"), (10_001, "it keeps sending interim answers")]
    {
        let interim = "HTTP/1.1 102 Processing\r\n\r\n".repeat(count);
        let last = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
        let (ending, _, told) = run(&generation, GET, 4096, async |mut client, mut upstream| {
            read_head(&mut upstream).await;
            let sent = format!("{interim}{last}");
            let (_, told) =
                tokio::join!(upstream.write_all(sent.as_bytes()), read_to_end(&mut client));
            String::from_utf8(told).unwrap()
        })
        .await;
        assert_eq!(ending, expected);
        assert_eq!(told.matches("102 Processing").count(), 10_000);
        assert_eq!(told.ends_with(last), count == 10_000);
    }
}

#[tokio::test(start_paused = true)]
async fn no_timeout_means_none() {
    let generation = generation("response: 0s, stall: 0s");
    let hour = Duration::from_secs(3600);
    let (ending, _, told) = run(&generation, GET, 10, async |mut client, mut upstream| {
        read_head(&mut upstream).await;
        sleep(hour).await;
        upstream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello").await.unwrap();
        sleep(hour).await;
        String::from_utf8(read_to_end(&mut client).await).unwrap()
    })
    .await;
    assert_eq!(ending, "whole true true");
    assert!(told.ends_with("hello"), "{told}");
}

#[tokio::test(start_paused = true)]
async fn a_receiver_that_takes_nothing_is_given_up_and_one_that_takes_a_little_is_not() {
    let generation = generation("stall: 10s");
    let begun = Instant::now();
    let (ending, _, ()) = run(&generation, POST, 4096, async |mut client, mut upstream| {
        let origin = async {
            for _ in 0..30 {
                sleep(Duration::from_secs(9)).await;
                upstream.read_exact(&mut [0; 4096]).await.unwrap();
            }
            std::future::pending::<()>().await;
        };
        let body = vec![b'x'; 300_000];
        tokio::select! {
            () = origin => {}
            _ = client.write_all(&body) => {}
        }
    })
    .await;
    assert_eq!(ending, "it has read nothing of the request for 10 s (`timeouts.stall`)");
    let seconds = begun.elapsed().as_secs();
    assert!((270..=290).contains(&seconds), "{seconds}");
    let begun = Instant::now();
    let (ending, _, ()) = run(&generation, GET, 100, async |_client, mut upstream| {
        read_head(&mut upstream).await;
        upstream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n").await.unwrap();
        let _ = upstream.write_all(&[b'x'; 500]).await;
        read_to_end(&mut upstream).await;
    })
    .await;
    assert_eq!((ending.as_str(), begun.elapsed().as_secs()), ("client stalled", 10));
}

#[tokio::test(start_paused = true)]
async fn a_client_that_ended_its_direction_is_gone_once_nothing_moves() {
    let generation = generation("response: 5m");
    let begun = Instant::now();
    let (ending, _, _client) = run(&generation, GET, 4096, async |mut client, mut upstream| {
        client.shutdown().await.unwrap();
        read_head(&mut upstream).await;
        upstream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
        for _ in 0..20 {
            sleep(Duration::from_secs(1)).await;
            upstream.write_all(b"x").await.unwrap();
        }
        read_to_end(&mut upstream).await;
        client
    })
    .await;
    assert_eq!(ending, "client left");
    assert_eq!(begun.elapsed(), Duration::from_secs(20) + QUIET);
}

#[tokio::test(start_paused = true)]
async fn the_rest_of_a_request_is_not_waited_for_long_once_the_upstream_has_answered_and_ended() {
    let generation = generation("response: 5m");
    for answer in [
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok",
        "HTTP/1.1 200 OK\r\n\r\nok",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok and more",
    ] {
        let begun = Instant::now();
        let (ending, _, came) = run(&generation, POST, 4096, async |mut client, mut upstream| {
            read_head(&mut upstream).await;
            upstream.write_all(answer.as_bytes()).await.unwrap();
            upstream.shutdown().await.unwrap();
            // The rest of the request still arrives, since the upstream may go on reading.
            for _ in 0..5 {
                sleep(Duration::from_secs(9)).await;
                client.write_all(b"x").await.unwrap();
            }
            let came = read_to_end(&mut upstream).await;
            (came, client)
        })
        .await;
        assert_eq!((ending.as_str(), came.0.len()), ("whole false false", 5), "{answer}");
        // The far end of the client stays open, for which the exchange has a millisecond more.
        let lasted = begun.elapsed().saturating_sub(Duration::from_secs(5 * 9) + PAUSE_IF_UNWANTED);
        assert!(lasted <= Duration::from_millis(1), "{answer}: {lasted:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_sends_no_body_behind_its_answer_is_given_up() {
    let generation = generation("response: 5m, stall: 1m");
    let expecting = POST.replace("\r\n\r\n", "\r\nExpect: 100-continue\r\n\r\n");
    let seconds = Duration::from_secs;
    // Each is how many bytes of the body the client sends, one a second.
    let cases = [(POST, 0, seconds(60)), (POST, 5, seconds(65)), (&expecting, 0, QUIET)];
    for (head, count, expected) in cases {
        let begun = Instant::now();
        let (ending, _, _client) =
            run(&generation, head, 4096, async |mut client, mut upstream| {
                read_head(&mut upstream).await;
                upstream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await.unwrap();
                for _ in 0..count {
                    sleep(seconds(1)).await;
                    client.write_all(b"x").await.unwrap();
                }
                read_to_end(&mut upstream).await;
                client
            })
            .await;
        assert_eq!(ending, "whole false false", "{head}");
        let lasted = begun.elapsed().saturating_sub(expected);
        assert!(begun.elapsed() >= expected && lasted <= Duration::from_millis(1), "{lasted:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_rest_of_a_request_that_was_refused_is_waited_for_while_it_comes() {
    let generation = generation("response: 5m");
    let begun = Instant::now();
    let (ending, _, came) = run(&generation, POST, 4096, async |mut client, mut upstream| {
        read_head(&mut upstream).await;
        upstream.write_all(b"HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n").await.unwrap();
        read_head(&mut client).await;
        for _ in 0..5 {
            sleep(Duration::from_secs(9)).await;
            client.write_all(b"x").await.unwrap();
        }
        read_to_end(&mut upstream).await
    })
    .await;
    assert_eq!((ending.as_str(), came.len()), ("whole false false", 5));
    assert_eq!(begun.elapsed(), Duration::from_secs(5 * 9) + PAUSE_IF_UNWANTED);
}
