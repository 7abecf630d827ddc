//! What commands say about a list.

use serde_json::{Value, json};

use super::{
    CONNECT, PATH,
    server::{ListServer, ok},
    yaml,
};
use crate::support::{
    ConfigDir, Double, HttpOrigin, Proxy, Step, exchange, outcome, pause, probe, run, within,
};

#[tokio::test]
async fn probe_fetches_the_list_and_check_and_explain_do_not() {
    let exit = Proxy::start("chains: { default: [] }\n").await;
    let origin = HttpOrigin::plain().await;
    let server = ListServer::of(&format!("{}\n", exit.address())).await;
    let yaml = yaml(&server.url(PATH), "", "");
    let config = ConfigDir::new(&yaml);
    let path = config.path().to_str().unwrap();
    let shown = format!("http://{}/…", server.address());
    let (code, out, _) = outcome(&run(["check", "-c", path]));
    assert_eq!(code, Some(0), "{out}");
    let words = format!("members from the list at {shown}, fetched when a request needs it");
    assert!(out.contains(&words) && out.contains("`check` fetches nothing"), "{out}");
    let (_, out, _) = outcome(&run(["check", "--format", "json", "-c", path]));
    let check: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(check["hops"][0]["members_from"], json!({ "source": shown, "via": "direct" }));
    let (code, out, _) = outcome(&run(["explain", "https://origin.test/", "-c", path]));
    assert_eq!(code, Some(0), "{out}");
    assert!(
        out.contains(&format!("exits takes one of the proxies in the list at {shown}")),
        "{out}"
    );
    assert!(server.heads().is_empty(), "nothing is fetched");
    let probed = probe(&yaml, &[&origin.url("/bytes/10")]).await;
    assert_eq!(probed.told["status"], 200, "{:#}", probed.told);
    // Once for people, and once for programs.
    assert_eq!(server.heads().len(), 2);
}

#[tokio::test]
async fn a_list_that_needs_itself_is_a_problem_with_its_line() {
    let pool = |via: &str| {
        format!("kind: pool, members_from: {{ url: \"https://list.test/cAnArY\", via: {via} }}")
    };
    let check = |yaml: &str| {
        let config = ConfigDir::new(yaml);
        let (code, out, _) = outcome(&run(["check", "-c", config.path().to_str().unwrap()]));
        assert!(!out.contains("cAnArY"), "{out}");
        (code, out)
    };
    let itself = "names a chain that needs `a` itself";
    for (yaml, problem) in [
        (format!("hops: {{ a: {{ {} }} }}\nchains: {{ default: [a] }}\n", pool("default")), itself),
        // Another pool holds it.
        (
            format!(
                "hops: {{ a: {{ {} }}, b: {{ kind: pool, members: [a] }} }}\nchains: {{ default: [b] }}\n",
                pool("default")
            ),
            itself,
        ),
        // Two lists need each other.
        (
            format!(
                "hops: {{ a: {{ {} }}, b: {{ {} }} }}\nchains: {{ default: [a], way: [b] }}\n",
                pool("way"),
                pool("default")
            ),
            itself,
        ),
        // A hop that is off may come on again.
        (
            format!(
                "hops: {{ a: {{ {}, enabled: false }} }}\nchains: {{ default: [a] }}\n",
                pool("default")
            ),
            itself,
        ),
        (
            format!("hops: {{ a: {{ {} }} }}\nchains: {{ default: [a] }}\n", pool("nowhere")),
            "unknown chain",
        ),
    ] {
        let (code, out) = check(&yaml);
        assert_eq!(code, Some(1), "{yaml}{out}");
        let places = [".members_from: `via` ", ".members_from.via: unknown"];
        assert!(places.iter().any(|place| out.contains(place)), "{yaml}{out}");
        assert!(out.contains(problem), "{yaml}{out}");
    }
    // A list through another list is not a circle.
    let yaml = format!(
        "hops: {{ a: {{ {} }}, b: {{ {} }} }}\nchains: {{ default: [a], way: [b] }}\n",
        pool("way"),
        pool("direct")
    );
    assert_eq!(check(&yaml).0, Some(0));
}

#[tokio::test]
async fn no_output_has_the_path_of_the_url_or_a_login_of_the_list() {
    let hop =
        Double::start([Step::Answer("HTTP/1.1 407 No\r\nContent-Length: 0\r\n\r\n".into())]).await;
    let list = format!("{}:cAnArY-user:cAnArY-password\n1.2.3.4:cAnArY:u\n", hop.address());
    let server = ListServer::of(&list).await;
    let config = yaml(&server.url(PATH), ", every: 1s", "");
    let proxy = Proxy::with_arguments(&config, &["--log-level", "trace"]).await;
    let mut told = String::new();
    for answer in [
        None,
        Some("HTTP/1.1 404 /cAnArY\r\nContent-Length: 6\r\n\r\ncAnArY".to_owned()),
        Some("HTTP/1.1 302 x\r\nLocation: /cAnArY\r\nContent-Length: 0\r\n\r\n".to_owned()),
        Some("cAnArY".to_owned()),
        Some(ok("cAnArY:cAnArY\n")),
    ] {
        if let Some(answer) = &answer {
            server.answers(answer);
            let seen = server.heads().len();
            within("another fetch", async {
                while server.heads().len() == seen {
                    told += &exchange(proxy.address(), CONNECT).await;
                    pause().await;
                }
            })
            .await;
        }
        told += &exchange(proxy.address(), CONNECT).await;
        for path in ["/status", "/metrics"] {
            let host = proxy.address();
            let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n");
            told += &exchange(proxy.address(), request.as_bytes()).await;
        }
        for arguments in [
            vec!["check"],
            vec!["check", "--format", "json"],
            vec!["check", "--graph"],
            vec!["explain", "https://origin.test/"],
            vec!["explain", "https://origin.test/", "--format", "json"],
            vec!["probe", "https://origin.test/"],
            vec!["status"],
            vec!["usage"],
            vec!["ps"],
        ] {
            let (code, out, error) = outcome(&proxy.command(&arguments));
            assert!(code.is_some_and(|code| code < 2), "{arguments:?}: {error}");
            told += &(out + &error);
        }
    }
    assert!(told.contains(" 502 ") && told.contains("exits"), "{told}");
    assert!(!told.contains("cAnArY"), "{told}");
    let events = proxy.events();
    assert!(events.len() > 20);
    events.iter().for_each(|event| assert!(!event.text().contains("cAnArY"), "{}", event.text()));
    proxy.other_lines().iter().for_each(|line| assert!(!line.contains("cAnArY"), "{line}"));
    // Nor has any message about a mistake in it.
    let url = format!("https://list.test{PATH}");
    for members_from in [
        format!("\"{url}\""),
        format!("[\"{url}\"]"),
        format!("{{ file: \"{url}\" }}"),
        format!("{{ uri: \"{url}\" }}"),
        format!("{{ url: \"{url} x\" }}"),
        format!("{{ url: \"{PATH}\" }}"),
        format!("{{ url: [\"{url}\"] }}"),
        format!("{{ url: {{ a: \"{url}\" }} }}"),
        "{ url: \"https://cAnArY:cAnArY@list.test/\" }".to_owned(),
        format!("{{ url: \"{url}\", every: never }}"),
        format!("{{ url: \"{url}\", every: 5 }}"),
        format!("{{ url: \"{url}\", via: nowhere }}"),
        format!("{{ url: \"{url}\", ca: missing.pem }}"),
        format!("{{ url: \"{url}\", file: a.txt }}"),
        format!("{{ url: \"{url}\", url: \"{url}\" }}"),
        format!("{{ url: \"{url}\", tls: true }}"),
    ] {
        let yaml = format!(
            "hops: {{ exits: {{ kind: pool, members_from: {members_from} }} }}\nchains: {{ default: [exits] }}\n"
        );
        let config = ConfigDir::new(&yaml);
        for format in ["human", "json"] {
            let path = config.path().to_str().unwrap();
            let (code, out, error) = outcome(&run(["check", "--format", format, "-c", path]));
            assert_eq!(code, Some(1), "{members_from}: {out}");
            assert!(!(out.clone() + &error).contains("cAnArY"), "{members_from}: {out}{error}");
        }
    }
}
