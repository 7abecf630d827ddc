//! Tests of loading whole configurations.

use std::{fs, time::Duration};

use mooltiroute_hops::kinds;
use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::config::{Level, mute_kind::Mute};

fn variable(name: &str) -> Option<std::ffi::OsString> {
    Some(match name {
        "CORP_USER" | "WEBSHARE_USERNAME" => "joe".into(),
        "CORP_PASSWORD" | "WEBSHARE_PASSWORD" | "PROXY_PASSWORD" => "hunter2".into(),
        "PORT" => "3128".into(),
        "OFF" => "false".into(),
        "LONG" => "x".repeat(10_000).into(),
        _ => return None,
    })
}

fn loader(directory: &TempDir, overrides: Overrides) -> Loader {
    let environment = Environment::new(variable, directory.path());
    let source = Source::Path(directory.path().to_owned());
    Loader::new(source, overrides, kinds::builtin(), environment)
}

fn directory(files: &[(&str, &str)]) -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    for (name, text) in files {
        fs::write(directory.path().join(name), text).unwrap();
    }
    directory
}

#[test]
fn a_kept_configuration_keeps_the_files_that_it_names() {
    let text = "hops:\n  a: { kind: http-connect, address: \"a.test:1\", username: u, password_file: pw }\n  \
                b: { kind: socks5, address: \"a.test:1\", enabled: { when: { interface: nope9 } } }\n\
                chains: { default: [a] }\n";
    let directory = directory(&[("a.yaml", text), ("pw", "old\n")]);
    let loader = loader(&directory, Overrides::default());
    let old = loader.load().unwrap();
    let kept = old.written.clone().unwrap();
    assert!(!format!("{kept:?}").contains("old"), "a content may be secret");
    for content in ["ne", "", "two\nlines\n"] {
        fs::write(directory.path().join("pw"), content).unwrap();
        let again = loader.load_kept(Arc::clone(&kept)).unwrap();
        assert_eq!(old.outline.changes(&again.outline), Vec::<String>::new());
        // And the next one is built from the same.
        loader.load_kept(again.written.unwrap()).unwrap();
    }
    fs::write(directory.path().join("pw"), "new\n").unwrap();
    let new = loader.load().unwrap();
    assert_ne!(old.outline.changes(&new.outline), Vec::<String>::new());
}

#[test]
fn a_hop_that_is_not_there_is_never_gone_round() {
    let text = "hops: { a: { kind: socks4a } }\nchains: { default: [a] }\n";
    let directory = directory(&[("a.yaml", text)]);
    let mut loader = loader(&directory, Overrides::default());
    loader.registry = kinds::builtin().with::<Mute>();
    let problems = loader.load().unwrap_err().to_string();
    assert!(problems.contains("hops: `a` can't be built, and does not say why"), "{problems}");
}

fn load(text: &str, overrides: Overrides) -> Result<Config, String> {
    let directory = directory(&[("a.yaml", text)]);
    let loaded = loader(&directory, overrides).load();
    loaded.map_err(|problems| {
        let prefix = format!("{}{}", directory.path().display(), std::path::MAIN_SEPARATOR);
        problems.to_string().replace(&prefix, "")
    })
}

fn names<'a>(config: &'a Config, chain: &str) -> Vec<&'a str> {
    let chain = config.chains.iter().find(|one| &*one.name == chain).unwrap();
    chain.hops.iter().map(|hop| &*config.hops[*hop].name).collect()
}

/// The example of the interface documentation, with the keys that exist today.
const EXAMPLE: &str = r#"
server:
  listen: 127.0.0.1:8888
  auth: { username: dev, password: "${PROXY_PASSWORD}" }
  via: none
timeouts:
  header: 30s
  connect: 10s
  handshake: 30s
  response: 5m
  stall: 5m
  idle: 0s
  half_closed: 5m
  drain: 30s
limits:
  connections: 10000
  header_bytes: 64KiB
  header_fields: 500
log: { level: info, format: text, access: true }
hops:
  corporate:
    kind: http-connect
    enabled: true
    address: proxy.corp.example:3128
    username: ${CORP_USER}
    password: ${CORP_PASSWORD}
    tls: false
  webshare:
    kind: webshare
    address: p.webshare.io:80
    username: ${WEBSHARE_USERNAME}
    password: ${WEBSHARE_PASSWORD}
chains:
  default: [corporate, webshare]
  inside: [corporate]
  fast: { hops: [corporate, webshare], warm: 4 }
routes:
  - { hosts: ["*.corp.example", 10.0.0.0/8], chain: inside }
  - { hosts: [localhost, 127.0.0.0/8, "::1"], chain: direct }
  - { hosts: ["*.example.com"], ports: [443, 8443], chain: fast }
  - { chain: default }
"#;

#[test]
fn the_example_of_the_interface_means_what_it_says() {
    let config = load(EXAMPLE, Overrides::default()).unwrap();
    let listen = config.server.listen.iter().map(|listener| listener.address);
    assert_eq!(listen.collect::<Vec<_>>(), ["127.0.0.1:8888".parse().unwrap()]);
    assert_eq!(config.server.auth.as_ref().unwrap().password.expose(), "hunter2");
    assert_eq!((config.server.via.as_deref(), config.timeouts.idle), (None, None));
    assert_eq!(config.timeouts.half_closed, Duration::from_secs(300));
    let limits = config.limits;
    assert_eq!(
        (limits.connections, limits.header_bytes, limits.header_fields),
        (10_000, 65536, 500)
    );
    assert_eq!(names(&config, "default"), ["corporate", "webshare"]);
    assert_eq!(names(&config, "direct"), [""; 0]);
    assert_eq!(config.chains.iter().map(|chain| chain.warm).max(), Some(4));
    let chains: Vec<_> =
        config.routes.iter().map(|route| &*config.chains[route.chain].name).collect();
    assert_eq!(chains, ["inside", "direct", "fast", "default"]);
    assert_eq!(config.routes[2].place.as_ref().unwrap().line, 40);
    assert_eq!(config.warnings, []);
}

#[test]
fn the_command_line_wins() {
    let overrides = Overrides {
        listen: vec!["127.0.0.1:0".parse().unwrap()],
        disable: vec!["webshare".into()],
        no_corporate: true,
        log_level: Some(Level::Debug),
        ..Overrides::default()
    };
    let config = load(EXAMPLE, overrides).unwrap();
    assert_eq!(config.server.listen[0].address, "127.0.0.1:0".parse().unwrap());
    assert_eq!(config.log.level, Level::Debug);
    assert_eq!(names(&config, "fast"), [""; 0]);
    assert_eq!(config.chains[1].switched_off.len(), 2);
    assert_eq!(config.warnings.len(), 3, "each chain that is direct now: {:?}", config.warnings);
}

#[test]
fn what_is_wrong_with_an_option_is_said_of_the_option() {
    for text in ["chains: {default: []}", "server: {listen: '[::1]:1'}\nchains: {default: []}"] {
        let listen = vec!["0.0.0.0:9999".parse().unwrap()];
        let said = load(text, Overrides { listen, ..Overrides::default() }).unwrap_err();
        let expected =
            "--listen: `0.0.0.0:9999` can be reached by others, and there is no `server.auth`\n";
        assert!(said.starts_with(expected), "{said}");
    }
}

#[test]
fn an_option_that_names_no_hop_is_an_error_but_for_no_corporate() {
    let overrides = Overrides { disable: vec!["webshar".into()], ..Overrides::default() };
    assert_eq!(
        load(EXAMPLE, overrides).unwrap_err(),
        "--disable webshar: no hop is called `webshar`\n  help: did you mean `webshare`?"
    );
    let overrides = Overrides { no_corporate: true, ..Overrides::default() };
    assert!(load("chains: {default: []}", overrides).is_ok());
}

#[test]
fn a_disabled_hop_may_lack_its_variables_and_nothing_else() {
    let hop = |settings: &str| {
        load(
            &format!("hops: {{a: {{kind: http-connect, {settings}}}}}\nchains: {{default: [a]}}"),
            Overrides::default(),
        )
    };
    let config = hop("enabled: '${OFF}', address: '${NOWHERE}'").unwrap();
    assert!(config.hops[0].hop.is_none());
    let config = hop("enabled: false, address: 'a:${PORT}'").unwrap();
    assert!(config.hops[0].hop.is_some());
    assert!(hop("address: '${NOWHERE}'").unwrap_err().contains("`NOWHERE` is not set"));
    let error = hop("enabled: false, address: '${NOWHERE}', adress: x").unwrap_err();
    assert!(error.starts_with("a.yaml:1:"), "{error}");
    assert!(error.contains("did you mean `address`?") && !error.contains("NOWHERE"), "{error}");
}

#[test]
fn files_merge_in_byte_order_and_keep_their_places() {
    let directory = directory(&[
        (
            "10-a.yaml",
            "hops:\n  a: { kind: http-connect, address: one:1 }\nchains: { default: [a] }\n",
        ),
        ("20-b.yml", "hops:\n  a:\n    address: two:x\nchains:\n  default: [b]\n"),
        (".hidden.yaml", "nonsense"),
        ("30-c.yaml~", "nonsense"),
        ("README.md", "nonsense"),
    ]);
    let problems = loader(&directory, Overrides::default()).load().unwrap_err();
    let places: Vec<_> = problems
        .0
        .iter()
        .map(|problem| {
            let place = problem.place.as_ref().unwrap();
            (
                &place.file[place.file.len() - 8..],
                place.line,
                place.column,
                problem.path.to_string(),
            )
        })
        .collect();
    assert_eq!(
        places,
        [
            ("20-b.yml", 3, 14, "hops.a.address".to_owned()),
            ("20-b.yml", 5, 13, "chains.default".to_owned())
        ]
    );
}

#[test]
fn what_means_the_same_is_equal_and_what_changed_is_named() {
    let directory = directory(&[("a.yaml", EXAMPLE)]);
    let loader = loader(&directory, Overrides::default());
    let old = loader.load().unwrap();
    let write = |text: &str| fs::write(directory.path().join("a.yaml"), text).unwrap();
    write(&EXAMPLE.replace("    enabled: true\n", "# nothing\n").replace("10000", "\"10000\""));
    let same = loader.load().unwrap();
    assert_eq!(old.outline, same.outline);
    assert_eq!(old.hops[0].fingerprint, same.hops[0].fingerprint);
    write(&EXAMPLE.replace("enabled: true", "enabled: false"));
    let new = loader.load().unwrap();
    assert_eq!(old.outline.changes(&new.outline), ["hops.corporate.enabled"]);
    assert_eq!(old.hops[0].fingerprint, new.hops[0].fingerprint);
    write(&EXAMPLE.replace("corp.example:3128", "corp.example:3129"));
    let new = loader.load().unwrap();
    assert_eq!(old.outline.changes(&new.outline), ["hops.corporate.address"]);
    assert_ne!(old.hops[0].fingerprint, new.hops[0].fingerprint);
    assert_eq!(old.hops[1].fingerprint, new.hops[1].fingerprint);
}

#[test]
fn the_embedded_configuration_is_valid_and_direct() {
    let environment = Environment::new(|_| None, "");
    let loader = Loader::new(Source::Embedded, Overrides::default(), kinds::builtin(), environment);
    let config = loader.load().unwrap();
    assert_eq!(config.server.listen[0].address.to_string(), "127.0.0.1:8888");
    assert_eq!(&*config.chains[config.routes[0].chain].name, "default");
    assert_eq!(config.routes.len(), 1);
}

#[test]
fn a_program_may_bring_a_text_of_its_own() {
    let load = |text: &str| {
        let source = Source::Text(text.into());
        let environment = Environment::new(|_| None, "");
        Loader::new(source, Overrides::default(), kinds::builtin(), environment).load()
    };
    let config = load("server: { listen: 127.0.0.1:0 }\nchains: { default: [] }\n").unwrap();
    assert_eq!(config.server.listen[0].address.to_string(), "127.0.0.1:0");
    let said = load("chains: { default: [a] }\n").unwrap_err().to_string();
    assert!(said.starts_with("(given):1:21: chains.default: unknown hop `a`"), "{said}");
}

#[test]
fn the_first_source_that_exists_is_taken_and_a_named_one_must() {
    let directory = directory(&[("config.yaml", "")]);
    let at = |name: &str| directory.path().join(name);
    let find = |flag: Option<&str>, named: &'static str| {
        let variables = move |name: &str| {
            (name == "MOOLTIROUTE_CONFIG" && !named.is_empty()).then(|| named.into())
        };
        let environment = Environment::new(variables, directory.path());
        Source::find(flag.map(Into::into), &environment)
    };
    assert_eq!(find(None, ""), Ok(Source::Path(at("config.yaml"))));
    fs::create_dir(at("config.d")).unwrap();
    assert_eq!(find(None, ""), Ok(Source::Path(at("config.d"))));
    assert_eq!(find(None, "config.yaml"), Ok(Source::Path(at("config.yaml"))));
    assert_eq!(find(Some("config.d"), "config.yaml"), Ok(Source::Path(at("config.d"))));
    assert!(find(None, "nowhere").unwrap_err().to_string().contains("$MOOLTIROUTE_CONFIG"));
    assert!(find(Some("nowhere"), "config.yaml").unwrap_err().to_string().contains("-c"));
}

#[test]
fn what_is_too_much_is_refused_in_bounded_time() {
    let many = |text: &str, count: usize| text.repeat(count);
    let wide = format!("x-a: &a [{}]\nx-b: [{}]\n", many("1,", 10_000), many("*a,", 10_000));
    let long = format!("x-a: &a {}\nx-b: [{}]\n", many("a", 1 << 20), many("*a,", 70_000));
    let long_hosts = format!(
        "x-a: &a {}\nchains: {{ default: [] }}\nroutes:\n  - {{ chain: default, hosts: [{}] }}\n",
        many("a", 100),
        many("*a,", 20_000)
    );
    let long_variables = format!("x-a: &a ${{LONG}}\nhops: [{}]\n", many("*a,", 70_000));
    for text in [
        long,
        long_hosts,
        long_variables,
        many("a", 3 << 20),
        many("[", 1 << 20),
        many("{", 1 << 20),
        many("- ", 1 << 20),
        many("? ", 1 << 20),
        many("a: ", 500_000),
        many("\"", 1 << 20),
        many("#", 1 << 20),
        many("&a ", 500_000),
        many("!a ", 500_000),
        many("\n", 2 << 20),
        many("a\n", 1 << 20),
        many("- a\n", 500_000),
        many("---\n", 400_000),
        many("hops: ${A}\n", 100_000),
        format!("x: {}", many("[1],", 400_000)),
        wide,
    ] {
        let begun = busy();
        // Comments and empty lines are valid, however many there are.
        let problems = load(&text, Overrides::default()).err().unwrap_or_default();
        let begin: String = text.chars().take(20).collect();
        assert!(problems.len() < 100_000, "{begin}: {}", problems.len());
        let took = busy() - begun;
        assert!(took < Duration::from_secs(20), "{begin}: {took:?}");
    }
}

/// Returns how long this thread has been at work, which other work on the machine does not add to.
fn busy() -> Duration {
    #[cfg(unix)]
    {
        let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
        Duration::new(time.tv_sec.try_into().unwrap(), time.tv_nsec.try_into().unwrap())
    }
    // Not counted elsewhere: only that the test ends is seen there.
    #[cfg(not(unix))]
    Duration::ZERO
}

/// Returns `count` lines, each with its number in place of `#`.
fn lines(count: usize, line: &str) -> String {
    (0..count).map(|number| line.replace('#', &number.to_string()) + "\n").collect()
}

#[test]
fn of_many_mistakes_the_first_are_shown_and_the_rest_are_counted() {
    let chains = "chains: { default: [] }\n";
    for text in [
        format!("hops:\n{}{chains}", lines(10_000, "  h#: { kind: webshar# }")),
        format!("hops:\n{}{chains}", lines(10_000, "  'h #': 1")),
        format!("hops:\n{}{chains}", lines(10_000, "  # : 1")),
        format!("chains:\n  default:\n{}", lines(20_000, "    - hop#")),
        format!("routes:\n{}{chains}", lines(10_000, "  - { chain: defalt# }")),
        format!("routes:\n{}{chains}", lines(5_000, "  - { hosts: ['a b'], ports: [0], c: # }")),
        format!("{}{chains}", lines(20_000, "hop#: 1")),
        format!("{chains}{}", lines(20_000, "hops: 1")),
        format!("server:\n  listen:\n{}{chains}", lines(20_000, "    - 0.0.0.0:0")),
        format!("server:\n  listen:\n{}{chains}", lines(20_000, "    - 0.0.0.0:1#")),
        format!("{chains}routes:\n{}", lines(10_000, "  - { chain: \"${V#}\" }")),
        format!("{chains}routes:\n{}", lines(10_000, "  - { chain: \"${LONG}#\" }")),
    ] {
        let directory = directory(&[("a.yaml", &text)]);
        let problems = loader(&directory, Overrides::default()).load().unwrap_err();
        let first = text.lines().nth(1).unwrap();
        assert_eq!(problems.0.len(), 201, "{first}");
        assert_eq!(problems.0[200].code, "more", "{first}");
        assert!(problems.to_string().len() < 1 << 20, "{first}");
    }
}

#[test]
fn of_many_warnings_the_first_are_shown_and_the_rest_are_counted() {
    let hops = lines(5_000, "  h#: { kind: webshare, username: a, password: b, enabled: false }");
    let chains = lines(5_000, "  c#: [h#]");
    let text = format!("hops:\n{hops}chains:\n  default: []\n{chains}");
    let config = load(&text, Overrides::default()).unwrap();
    assert_eq!((config.hops.len(), config.warnings.len()), (5_000, 201));
}

#[test]
fn a_password_that_ends_in_a_tag_or_a_key_is_not_shown() {
    for end in [
        ", !x hunter2",
        ", enabled: hunter2",
        "a, address: hunter2",
        "a, kind: hunter2",
        "a, kind: hunter2, kind: hunter2",
        "a, hunter: b",
        "a, hunter: b, hunter: c",
        "a, hunter: b: c",
        "[a, { hunter: b }]",
        "{ hunter: { enabled: x } }",
        "a }, hunter: {",
        "a }, b: { kind: hunter2",
    ] {
        let hop = format!("hops: {{ a: {{ address: b:1, password: {end} }} }}\n");
        let problems = load(&hop, Overrides::default()).unwrap_err();
        let shown = problems.replace("hops.hunter", "");
        assert!(!shown.contains("hunter"), "{hop}{problems}");
    }
}

#[test]
fn an_unknown_key_that_could_be_a_password_is_not_shown() {
    let problem = |key: &str| {
        load(&format!("hops: {{a: {{kind: webshare, {key}: 1}}}}"), Overrides::default())
            .unwrap_err()
    };
    assert!(!problem("hunter2").contains("hunter2"), "{}", problem("hunter2"));
    assert!(problem("colour").contains("colour"), "{}", problem("colour"));
    assert!(problem("passw0rd").contains("did you mean `password`?"), "{}", problem("passw0rd"));
}

const PIECE: &str = "hops:|chains:|routes:|server:|  |\n|\n  |\n    |- |: |a|b|kind: |http-connect|address: |a:1|hunter2|\
    |password: |enabled: |\\[|\\]|\\{|\\}|, |[*]a|&a |<<: |\"|'|[$][{]PORT[}]|[$][{]|#|é|\t|\r|[|]|>|---|5|~|!x |@|%|\u{0}|\u{feff}";

proptest! {
    #[test]
    fn any_text_has_an_answer_and_none_shows_a_password(pieces in prop::collection::vec(PIECE, 0..30)) {
        let text = pieces.concat();
        if let Err(problems) = load(&text, Overrides::default()) {
            prop_assert!(!problems.is_empty());
        }
        let hop = format!("hops:\n  a: {{ kind: http-connect, password: {text}hunter2 }}\n");
        if let Err(problems) = load(&hop, Overrides::default())
            && !text.contains("hunter2")
        {
            prop_assert!(!problems.contains("hunter2"), "{hop}\n{problems}");
        }
    }
}
