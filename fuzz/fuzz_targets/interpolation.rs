//! The value of a variable arrives unchanged: it can't break the YAML and is not expanded again. A doubled dollar sign keeps a
//! text literal.

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
    // The text in single quotes, in which only a quote is escaped. YAML excludes these two characters.
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
        // An empty password would let everybody in.
        Some("") => assert!(loaded.is_err()),
        Some(expected) => {
            let auth = loaded.unwrap().server.auth.unwrap();
            assert_eq!(auth.password.expose(), expected);
        }
        // A text that is too long or has a control character may be refused.
        None => drop(loaded),
    }
}
