//! Any text in a file is accepted or rejected in bounded time, and no error shows a text that could be a password.

#![no_main]

use libfuzzer_sys::fuzz_target;
use mooltiroute::{
    config::{Environment, Loader, Overrides, Source},
    hops::kinds,
};

fuzz_target!(|text: &str| {
    let directory = std::env::temp_dir().join(format!("mooltiroute-fuzz-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let path = directory.join("config.yaml");
    // A password as people write it, then the input.
    let begin = "hops:\n  a: { kind: http-connect, address: \"a:1\", username: joe, password: ";
    let mut texts = vec![text.to_owned(), format!("{begin}\"{CANARY}\" }}\n{text}")];
    // After a colon or a line end, the canary may no longer be a part of the password.
    if !text.contains([':', '\n', '\r']) {
        texts.push(format!("{begin}{text}{CANARY}\n"));
    }
    for text in texts {
        std::fs::write(&path, &text).unwrap();
        let environment = Environment::new(|_| None, &directory);
        let source = Source::Path(path.clone());
        let loader = Loader::new(source, Overrides::default(), kinds::builtin(), environment);
        if let Err(problems) = loader.load() {
            assert!(!problems.0.is_empty());
            let said = format!("{problems}{}", problems.brief());
            assert!(!said.contains(CANARY), "{text}\n{said}");
        }
    }
});

/// It has digits, because errors hide unknown keys with digits.
const CANARY: &str = "c4n4ry7";
