//! The documents agree with the program: tables, links, dependencies, error types and log messages.
//!
//! `MOOLTIROUTE_EXPECT=write` updates the generated tables (`just golden`).

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up must stop")]

mod links;
mod metrics;
mod modules;
mod monitoring;
mod style;
mod tables;

use std::{
    collections::BTreeSet,
    env, fs,
    path::{Path, PathBuf},
};

use mooltiroute::{
    config::{Environment, Loader, Overrides, Source},
    hops::kinds,
};

#[test]
fn generated_tables_are_current() {
    let mut tables = tables::all();
    let is_writing = env::var_os("MOOLTIROUTE_EXPECT").is_some_and(|what| what == "write");
    let mut stale = String::new();
    for path in pages() {
        let page = read(&path);
        let mut written = String::new();
        let mut rest = page.as_str();
        while let Some((before, marked)) = rest.split_once(BEGIN) {
            let (name, marked) = marked.split_once(" -->\n").unwrap();
            let (found, after) = marked.split_once(END).unwrap();
            let table = tables.remove(name);
            let table = table.unwrap_or_else(|| panic!("{path}: no table is called `{name}`"));
            for row in table.lines().filter(|row| !found.lines().any(|line| line == *row)) {
                stale += &format!("{path}, table `{name}`: write  {row}\n");
            }
            for row in found.lines().filter(|row| !table.lines().any(|line| line == *row)) {
                stale += &format!("{path}, table `{name}`: remove {row}\n");
            }
            written += &format!("{before}{BEGIN}{name} -->\n{table}{END}");
            rest = after;
        }
        written += rest;
        if is_writing && written != page {
            fs::write(root().join(&path), written).unwrap();
        }
    }
    assert!(tables.is_empty(), "no page has a place for {:?}", tables.keys());
    assert!(stale.is_empty() || is_writing, "{stale}Or write all of it with\n{REGENERATE}");
}

#[test]
fn every_kind_of_hop_has_a_section() {
    let page = read("docs/hops.md");
    for kind in kinds::builtin().names() {
        assert!(page.contains(&format!("\n## `{kind}`\n")), "docs/hops.md: write  ## `{kind}`");
        let link = format!("\n| [`{kind}`](#{kind}) |");
        assert!(page.contains(&link), "docs/hops.md: write {link} … |");
    }
}

#[test]
fn every_command_has_its_exit_statuses() {
    let page = read("docs/operations.md");
    let rows = rows(&page, "Exit statuses");
    let rows = rows.iter().filter_map(|row| row.strip_prefix("mooltiroute "));
    let rows: BTreeSet<String> = rows.map(ToOwned::to_owned).collect();
    assert_eq!(rows, tables::command_names().into_iter().collect(), "docs/operations.md");
}

#[test]
fn every_call_of_the_control_socket_is_documented() {
    let source = read("src/control/api/calls.rs");
    let table = source.split_once("\nconst CALLS:").unwrap().1.split("\n];").next().unwrap();
    let mut texts = table.split('"').skip(1).step_by(2);
    let mut calls = BTreeSet::new();
    while let (Some(path), Some(method)) = (texts.next(), texts.next()) {
        calls.insert(format!("{method} {path}"));
    }
    assert!(calls.contains("GET /v1/proxy"), "{calls:?}");
    let rows = rows(&read("docs/operations.md"), "Control socket");
    let rows: BTreeSet<String> = rows.into_iter().filter(|row| row.contains(" /v1/")).collect();
    assert_eq!(rows, calls, "docs/operations.md, Control socket");
}

#[test]
fn every_error_type_that_clients_see_is_explained() {
    let sources = sources();
    let used = RFC_9209.into_iter().filter(|name| sources.contains(&format!("\"{name}\"")));
    let used: BTreeSet<String> = used.map(ToOwned::to_owned).collect();
    assert!(used.contains("dns_error"), "{used:?}");
    let page = read("docs/troubleshooting.md");
    let rows: BTreeSet<String> = rows(&page, "Error types").into_iter().collect();
    assert_eq!(rows, used, "docs/troubleshooting.md, Error types");
}

#[test]
fn log_messages_and_their_documentation_agree() {
    let page = read("docs/operations.md");
    let section = page.split_once("\n### Messages\n").unwrap().1.split("\n### ").next().unwrap();
    let cells = section.lines().filter_map(|line| line.strip_prefix("| `")?.split(" | ").next());
    let documented: BTreeSet<String> = cells.map(without_backticks).collect();
    let sources = sources();
    let logged = logged_messages(&sources);
    assert!(logged.contains("config reloaded"), "{logged:?}");
    let missing: Vec<_> = logged.difference(&documented).collect();
    assert!(missing.is_empty(), "docs/operations.md, Messages: write {missing:#?}");
    // The messages of access lines are constants, and a long one goes on in the next line.
    let sources = without_backticks(&on_one_line(&sources));
    for message in &documented {
        let is_there = logged.contains(message) || sources.contains(&format!("\"{message}\""));
        assert!(is_there, "docs/operations.md, Messages: remove `{message}`");
    }
}

/// Returns the messages that `sources` log at `info` and above, without backticks. A message is the last literal of an
/// event, with the constants that it names.
fn logged_messages(sources: &str) -> BTreeSet<String> {
    let calls = ["info!(", "warn!(", "error!("];
    let events = calls.iter().flat_map(|call| sources.split(call).skip(1));
    let messages = events.filter_map(|rest| {
        let mut parts = arguments(rest).rsplit('"');
        let (after, message) = (parts.next()?, parts.next()?);
        // `"{}", module::NAME` is the same as `"{NAME}"`.
        let argument = after.trim_matches([',', ' ', '\n']).rsplit("::").next().unwrap_or_default();
        with_constants(&message.replacen("{}", &format!("{{{argument}}}"), 1), sources)
    });
    messages.map(|message| without_backticks(&message)).collect()
}

/// Returns `message` with the texts of the constants that it names, or `None` if it has other parts that vary.
fn with_constants(message: &str, sources: &str) -> Option<String> {
    let Some((before, rest)) = message.split_once('{') else { return Some(message.to_owned()) };
    let (name, after) = rest.split_once('}')?;
    if !name.starts_with(|first: char| first.is_ascii_uppercase()) {
        return None;
    }
    let declaration = format!("const {name}: &str =");
    let mut found = sources.split(&*declaration).skip(1);
    let text = found.next();
    assert!(text.is_some(), "no constant is called `{name}`");
    assert!(found.next().is_none(), "several constants of the program are called `{name}`");
    let text = text.unwrap_or_default();
    let text = on_one_line(text.split('"').nth(1)?);
    with_constants(&format!("{before}{text}{after}"), sources)
}

/// Returns `source` without the breaks inside of literals that go on in the next line.
fn on_one_line(source: &str) -> String {
    let mut lines = source.split("\\\n");
    let first = lines.next().unwrap_or_default().to_owned();
    lines.fold(first, |all, line| all + line.trim_start())
}

/// Returns the start of `rest` up to the parenthesis that closes the call.
fn arguments(rest: &str) -> &str {
    let (mut depth, mut is_text) = (1, false);
    let end = rest.find(|letter| {
        match letter {
            '"' => is_text = !is_text,
            '(' if !is_text => depth += 1,
            ')' if !is_text => depth -= 1,
            _ => {}
        }
        depth == 0
    });
    &rest[..end.unwrap_or(rest.len())]
}

fn without_backticks(text: &str) -> String {
    text.replace('`', "").trim().to_owned()
}

#[test]
fn the_readme_shows_the_current_error_for_an_unknown_key() {
    let text = "hops: { a: { kind: http-connect, address: \"a.test:1\", enabeld: false } }";
    let environment = Environment::new(|_| None, ".");
    let source = Source::Text(text.into());
    let loader = Loader::new(source, Overrides::default(), kinds::builtin(), environment);
    let problems = loader.load().unwrap_err().to_string();
    let (_, message) = problems.split_once(": unknown key").unwrap();
    let message = format!("unknown key{}", message.lines().next().unwrap());
    assert!(read("README.md").contains(&message), "README.md: write {message}");
}

#[test]
fn every_dependency_has_its_reason() {
    let document = read("ARCHITECTURE.md");
    let manifests = ["Cargo.toml", "hops/Cargo.toml", "pac/Cargo.toml", "sso/Cargo.toml"].map(read);
    let all = manifests.iter().flat_map(|manifest| dependencies(manifest));
    let mut names: Vec<&str> = all.filter(|name| !name.starts_with("mooltiroute-")).collect();
    names.sort_unstable();
    names.dedup();
    assert!(names.contains(&"tokio") && names.contains(&"tempfile"), "{names:?}");
    let mut rows = rows(&document, "Dependencies");
    rows.sort_unstable();
    assert_eq!(rows, names, "ARCHITECTURE.md, Dependencies");
}

#[test]
fn four_places_are_exempt_from_the_ban_on_unsafe() {
    let sources = files(&root().join("src"), 9);
    let is_exempt = |path: &&PathBuf| fs::read_to_string(path).unwrap().contains("unsafe_code");
    let mut exempt: Vec<_> = sources.iter().filter(is_exempt).collect();
    exempt.sort_unstable();
    let named = [
        "src/io/send_queue/linux.rs",
        "src/proxy/watch/lease.rs",
        "src/system/memory/code.rs",
        "src/system/memory.rs",
    ];
    let named = named.map(|path| root().join(path));
    assert_eq!(exempt, named.iter().collect::<Vec<_>>());
    assert!(read("hops/src/lib.rs").contains("\n#![forbid(unsafe_code)]\n"));
}

/// Returns the first cells, in backticks, of the table below a heading.
fn rows(page: &str, heading: &str) -> Vec<String> {
    let section = page.split_once(&format!("\n## {heading}\n"));
    assert!(section.is_some(), "no section is called {heading}");
    let (_, section) = section.unwrap();
    let section = section.split("\n## ").next().unwrap_or_default();
    let cells = section.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    cells.map(ToOwned::to_owned).collect()
}

/// Returns all pages, as paths below the root.
fn pages() -> Vec<String> {
    let folders = [("", 0), ("docs", 0), ("fuzz", 0), (".github", 1), ("benches", 1)];
    let paths = folders.into_iter().flat_map(|(folder, depth)| files(&root().join(folder), depth));
    let pages = paths.filter(|path| path.extension().is_some_and(|ending| ending == "md"));
    let relative =
        |path: PathBuf| path.strip_prefix(root()).unwrap().to_str().unwrap().replace('\\', "/");
    let mut pages: Vec<String> = pages.map(relative).collect();
    pages.sort();
    assert!(pages.iter().any(|page| page == "docs/hops.md"), "{pages:?}");
    pages
}

/// Returns the sources of the program, in one text, without their unit tests.
fn sources() -> String {
    let paths = files(&root().join("src"), 9);
    let texts = paths.iter().map(|path| fs::read_to_string(path).unwrap());
    texts.map(|text| text.split("#[cfg(test)]\nmod tests {").next().unwrap().to_owned()).collect()
}

/// The names in all tables of dependencies, without the one that is part of this repository.
fn dependencies(manifest: &str) -> impl Iterator<Item = &str> {
    let tables = manifest.split("\n[").filter(|table| {
        let head = table.split(']').next().unwrap_or_default();
        head.ends_with("dependencies") && !head.starts_with("workspace")
            || head.starts_with("target.") && table.contains("dependencies]")
    });
    let lines = tables.flat_map(|table| table.lines().skip(1));
    lines
        .filter_map(|line| line.split(['.', ' ', '=']).next())
        .filter(|name| !name.is_empty() && !name.starts_with('#') && *name != "mooltiroute-hops")
}

/// The sources in `folder`, and those in its folders as far down as `depth`.
fn files(folder: &Path, depth: usize) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let (folders, mut paths): (Vec<_>, Vec<_>) = entries.partition(|path| path.is_dir());
    if depth > 0 {
        paths.extend(folders.iter().flat_map(|folder| files(folder, depth - 1)));
    }
    paths
}

fn read(name: &str) -> String {
    fs::read_to_string(root().join(name)).unwrap().replace("\r\n", "\n")
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Marks a place only at the beginning of a line; CONTRIBUTING.md has one in a sentence.
const BEGIN: &str = "\n<!-- generated: ";
const END: &str = "<!-- end -->";
const REGENERATE: &str = "MOOLTIROUTE_EXPECT=write cargo test --test documents generated_tables";

/// The types of section 2.3 of the RFC.
const RFC_9209: [&str; 31] = [
    "dns_timeout",
    "dns_error",
    "destination_not_found",
    "destination_unavailable",
    "destination_ip_prohibited",
    "destination_ip_unroutable",
    "connection_refused",
    "connection_terminated",
    "connection_timeout",
    "connection_read_timeout",
    "connection_write_timeout",
    "connection_limit_reached",
    "tls_protocol_error",
    "tls_certificate_error",
    "tls_alert_received",
    "http_request_error",
    "http_request_denied",
    "http_response_incomplete",
    "http_response_header_section_size",
    "http_response_header_size",
    "http_response_body_size",
    "http_response_trailer_section_size",
    "http_response_trailer_size",
    "http_response_transfer_coding",
    "http_response_content_coding",
    "http_response_timeout",
    "http_upgrade_failed",
    "http_protocol_error",
    "proxy_internal_error",
    "proxy_configuration_error",
    "proxy_loop_detected",
];
