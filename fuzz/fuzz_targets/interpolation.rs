//! A variable's value arrives unchanged: it breaks no YAML and is not expanded again. A doubled dollar keeps a text
//! literal.

#![no_main]

use libfuzzer_sys::fuzz_target;
use mooltiroute::{
    config::{Config, Environment, Loader, Overrides, Problems, Source},
    hops::kinds,
};

fuzz_target!(|text: &str| {
    if text.contains('\0') {
        return;
    }
    let fits = !text.chars().any(char::is_control) && text.len() < 4096;
    let value = text.to_owned();
    let loaded = load("${VALUE}", move |name| (name == "VALUE").then(|| value.clone().into()));
    check(loaded, fits.then_some(text));
    // As a single-quoted scalar, which has no escapes but its own quote. YAML does not have these two characters.
    if fits && !text.contains(['\u{fffe}', '\u{ffff}']) {
        let written = text.replace("${", "$${").replace('\'', "''");
        check(load(&written, |_| None), Some(text));
    }
    let _ = load(text, |_| Some("value".into()));
});

fn load(
    password: &str,
    variable: impl Fn(&str) -> Option<std::ffi::OsString> + Send + Sync + 'static,
) -> Result<Config, Problems> {
    let directory = std::env::temp_dir().join(format!("mooltiroute-fuzz-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let path = directory.join("interpolation.yaml");
    let yaml = format!(
        "server: {{ auth: {{ username: joe, password: '{password}' }} }}\nchains: {{ default: [] }}\n"
    );
    std::fs::write(&path, yaml).unwrap();
    let loader = Loader::new(
        Source::Path(path),
        Overrides::default(),
        kinds::builtin(),
        Environment::new(variable, &directory),
    );
    loader.load()
}

fn check(loaded: Result<Config, Problems>, expected: Option<&str>) {
    match expected {
        // Credentials that everybody knows.
        Some("") => assert!(loaded.is_err()),
        Some(expected) => {
            let auth = loaded.unwrap().server.auth.unwrap();
            assert_eq!(auth.password.expose(), expected);
        }
        // Too long, or a control character: refused, or taken where neither counts here.
        None => drop(loaded),
    }
}
