//! Links between the pages, and documents that pages and sources name.

use std::{collections::BTreeSet, fs, path::PathBuf};

use crate::{files, pages, read, root};

#[test]
fn links_lead_to_files_and_headings() {
    let mut count = 0;
    for page in pages() {
        for link in links(&prose(&read(&page))).filter(|link| !link.contains("://")) {
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = if file.is_empty() { root().join(&page) } else { beside(&page, file) };
            assert!(target.exists(), "{page}: nothing is at `{link}`");
            if !anchor.is_empty() {
                let headings = anchors(&fs::read_to_string(&target).unwrap());
                assert!(headings.contains(anchor), "{page}: `{link}` is none of {headings:?}");
            }
            count += 1;
        }
    }
    assert!(count > 20, "{count}");
}

#[test]
fn documents_that_are_named_exist() {
    let mut count = 0;
    let folders = ["src", "hops", "tests", "benches", "examples", "config.d", ".github", ".ci"];
    let paths = folders.iter().flat_map(|folder| files(&root().join(folder), 9));
    let is_source = |path: &PathBuf| {
        let name = path.to_string_lossy();
        !name.contains("node_modules") && !name.ends_with("links.rs")
    };
    let sources = paths
        .filter(is_source)
        .map(|path| path.strip_prefix(root()).unwrap().to_str().unwrap().replace('\\', "/"));
    for page in pages().into_iter().chain(sources) {
        let Ok(text) = fs::read_to_string(root().join(&page)) else { continue };
        let is_of_path =
            |character: char| character.is_ascii_alphanumeric() || "._-/".contains(character);
        let words = text.split(|character| !is_of_path(character));
        for name in words.filter(|word| word.ends_with(".md") && word.len() > 3) {
            let exists = root().join(name).exists() || beside(&page, name).exists();
            assert!(exists || name.contains("//"), "{page} names `{name}`, which does not exist");
            count += 1;
        }
    }
    assert!(count > 20, "{count}");
}

/// Returns the targets of the links in Markdown.
fn links(markdown: &str) -> impl Iterator<Item = &str> {
    markdown.split("](").skip(1).filter_map(|rest| rest.split(')').next())
}

/// Returns `page` without its blocks of code.
fn prose(page: &str) -> String {
    page.split("\n```").step_by(2).collect::<Vec<_>>().join("\n")
}

/// Returns the anchors that a renderer makes of the headings of `page`.
fn anchors(page: &str) -> BTreeSet<String> {
    let page = prose(page);
    let headings = page.lines().filter(|line| line.starts_with('#'));
    let is_kept = |character: &char| character.is_alphanumeric() || " -_".contains(*character);
    let slug = |heading: &str| -> String {
        heading.trim_start_matches('#').trim().chars().filter(is_kept).collect::<String>()
    };
    headings.map(|heading| slug(heading).to_lowercase().replace(' ', "-")).collect()
}

fn beside(page: &str, name: &str) -> PathBuf {
    root().join(page).parent().unwrap().join(name)
}
