//! The schema and the parser agree: what one takes, the other takes.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up must stop")]

use std::{
    fs,
    path::{Path, PathBuf},
};

use jsonschema::Validator;
use mooltiroute::{
    config::{Environment, Loader, Overrides, Source, schema::schema},
    hops::kinds,
};
use serde_json::Value;

#[test]
fn every_valid_file_fits_the_schema() {
    let validator = validator();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut paths = files(&root.join("config.d"));
    paths.extend(files(&root.join("tests/configs/valid")));
    for path in &paths {
        let errors: Vec<_> =
            validator.iter_errors(&read(path).unwrap()).map(|error| error.to_string()).collect();
        assert!(errors.is_empty(), "{}: {errors:?}", path.display());
    }
    assert_eq!(paths.len(), 116);
}

#[test]
fn a_file_of_the_wrong_shape_does_not_fit() {
    let validator = validator();
    let invalid = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/configs/invalid");
    let mut count = 0;
    for path in files(&invalid).into_iter().filter(|path| path.parent() == Some(&invalid)) {
        let source = Source::Path(path.clone());
        let environment = Environment::new(|_| Some("x".into()), &invalid);
        let loader = Loader::new(source, Overrides::default(), kinds::builtin(), environment);
        let Err(problems) = loader.load() else { continue };
        let is_of_shape =
            |code: &str| ["unknown-key", "unknown-value", "unknown-kind", "type"].contains(&code);
        // What comes from a variable, an editor can't know.
        let text = fs::read_to_string(&path).unwrap_or_default();
        if !problems.0.iter().any(|problem| is_of_shape(problem.code)) || text.contains(": ${") {
            continue;
        }
        let Some(value) = read(&path) else { continue };
        assert!(!validator.is_valid(&value), "{}: {problems}", path.display());
        count += 1;
    }
    assert_eq!(count, 131);
}

#[test]
fn every_setting_is_described() {
    let schema = schema(&kinds::builtin());
    let mut count = 0;
    described(&schema["properties"], &mut count);
    assert!(count > 30, "{count}");
}

/// Every property below `properties` has a description, which editors show.
fn described(properties: &Value, count: &mut usize) {
    for (name, property) in properties.as_object().unwrap() {
        assert!(property["description"].is_string(), "{name}: {property}");
        *count += 1;
        inner(property, count);
    }
}

fn inner(schema: &Value, count: &mut usize) {
    match schema {
        Value::Object(object) => {
            for (key, value) in object {
                match key.as_str() {
                    "properties" => described(value, count),
                    "if" => {}
                    _ => inner(value, count),
                }
            }
        }
        Value::Array(list) => list.iter().for_each(|value| inner(value, count)),
        _ => {}
    }
}

fn validator() -> Validator {
    jsonschema::validator_for(&schema(&kinds::builtin())).unwrap()
}

/// Returns the problems that an editor shows for a file, or `None` if it is not YAML.
fn read(path: &Path) -> Option<Value> {
    let text = fs::read_to_string(path).ok()?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    let mut value: serde_yaml::Value = serde_yaml::from_str(text).ok()?;
    value.apply_merge().ok()?;
    serde_json::to_value(value).ok()
}

/// The YAML files below `folder`.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() {
            found.extend(files(&path));
        } else if (name.ends_with(".yaml") || name.ends_with(".yml")) && !name.starts_with('.') {
            found.push(path);
        }
    }
    found
}
