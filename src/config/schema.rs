//! Generates the JSON Schema of configuration files, for editors, from the types that read them.
//!
//! A file may be one part of a configuration, so no key of a mapping is required. A variable may replace any scalar.

use mooltiroute_hops::Registry;
use schemars::{
    JsonSchema, Schema, SchemaGenerator,
    generate::SchemaSettings,
    transform::{Transform, transform_subschemas},
};
use serde_json::{Map, Value, json};

use crate::config::{raw, units::Period};

/// Returns the schema for hops of the kinds in `registry`.
pub fn schema(registry: &Registry) -> Value {
    // Editors support draft 7 best, and handle references badly.
    let settings = SchemaSettings::draft07().with(|settings| settings.inline_subschemas = true);
    let mut generator = settings.into_generator();
    let kinds: Vec<_> =
        registry.names().filter_map(|name| Some((name, registry.kind(name)?))).collect();
    let kinds: Vec<_> =
        kinds.into_iter().map(|(name, kind)| (name, part(kind.schema(&mut generator)))).collect();
    let chain = part(generator.subschema_for::<raw::RawChain>());
    let route = part(generator.subschema_for::<raw::RawRoute>());
    // The characters of ASCII that a name can't have, as ranges. All others are left to the loader, which
    // accepts the letters of every language.
    let names = json!({ "pattern": r"^[^\x00-,/:-@\[-^`{-\x7F]{1,64}$" });
    let mut schema = json!({
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "A file of a Mooltiroute configuration",
        "type": ["object", "null"],
        "properties": {
            "server": section::<raw::RawServer>(&mut generator),
            "timeouts": section::<raw::RawTimeouts>(&mut generator),
            "limits": section::<raw::RawLimits>(&mut generator),
            "log": section::<raw::RawLog>(&mut generator),
            "hops": {
                "description": "The upstreams, by the names that chains have for them.",
                "type": ["object", "null"],
                "propertyNames": names,
                "additionalProperties": hop(kinds, &mut generator),
            },
            "chains": {
                "description": "The ways to a target, by the names that routes have for them: hops in the order of travel. `default` takes everything while no routes are written; `direct` is built in.",
                "type": ["object", "null"],
                "propertyNames": names,
                "additionalProperties": chain,
            },
            "routes": {
                "description": "Which targets take which chain. The first that matches applies, so the last one is for everything.",
                "type": ["array", "null"],
                "items": route,
            },
        },
        "patternProperties": { "^x-": { "description": "Left alone: a place for anchors." } },
        "additionalProperties": false,
    });
    // A type that contains itself, as a condition of the network does, can't be inlined and is referred to.
    let definitions = generator.take_definitions(true);
    if let (Some(object), false) = (schema.as_object_mut(), definitions.is_empty()) {
        object.insert("definitions".into(), Value::Object(definitions));
    }
    schema
}

/// Returns the schema of a section, which may also be empty, as when all its lines are comments.
fn section<T: JsonSchema>(generator: &mut SchemaGenerator) -> Value {
    let mut section = part(generator.subschema_for::<T>());
    section["type"] = json!(["object", "null"]);
    section
}

/// Returns the schema of a hop of any of `kinds`. Its kind decides which settings it has. A hop without a kind is
/// completed by another file.
fn hop(kinds: Vec<(&'static str, Value)>, generator: &mut SchemaGenerator) -> Value {
    let names: Vec<&str> = kinds.iter().map(|(name, _)| *name).collect();
    let rotate_after =
        described(part(generator.subschema_for::<Period>()), ROTATE_AFTER, Value::Null);
    let mut budget = part(generator.subschema_for::<raw::RawBudget>());
    budget["default"] = Value::Null;
    let common = Map::from_iter([
        (
            "kind".to_owned(),
            json!({
                "description": "How Mooltiroute talks to the hop.",
                "anyOf": [{ "enum": names }, { "type": "string", "pattern": VARIABLE }],
            }),
        ),
        (
            "enabled".to_owned(),
            described(
                part(generator.subschema_for::<raw::Enabled>()),
                "Whether chains use the hop: `true`, `false`, or a condition of the network. A hop that is not enabled is left out of them.",
                json!(true),
            ),
        ),
        (
            "on_leave".to_owned(),
            described(
                part(generator.subschema_for::<raw::OnLeave>()),
                "Whether the tunnels through the hop go on when it is switched off: `keep` lets them go on to their own end, `cut` ends them.",
                json!("keep"),
            ),
        ),
        ("budget".to_owned(), budget),
        ("rotate_after".to_owned(), rotate_after),
    ]);
    let mut keys: Vec<String> = common.keys().cloned().collect();
    let mut alternatives = Vec::new();
    for (name, mut settings) in kinds {
        if let Some(properties) = settings.get_mut("properties").and_then(Value::as_object_mut) {
            keys.extend(properties.keys().cloned());
            properties.extend(common.clone());
        }
        // With `if` and `then`, only the settings of the chosen kind are checked. `anyOf` would report the
        // mistakes for every kind.
        let is_kind = json!({ "properties": { "kind": { "const": name } }, "required": ["kind"] });
        alternatives.push(json!({ "if": is_kind, "then": settings }));
    }
    keys.sort();
    keys.dedup();
    // Without a kind, the keys of all kinds are allowed, so that a misspelt one is still found.
    let has_kind = json!({ "required": ["kind"] });
    alternatives.push(json!({ "if": has_kind, "else": { "propertyNames": { "enum": keys } } }));
    json!({
        "description": "An upstream: its `kind`, and the settings of that kind.",
        "type": "object",
        "properties": common,
        "allOf": alternatives,
    })
}

/// Puts a description and a default into `schema`.
fn described(mut schema: Value, description: &str, default: Value) -> Value {
    schema["description"] = json!(description);
    schema["default"] = default;
    schema
}

/// Relaxes `schema` for a file that is one part of a configuration, with variables in place of scalars.
fn part(mut schema: Schema) -> Value {
    PartialSchema.transform(&mut schema);
    schema.to_value()
}

/// Relaxes the schema of complete values: no required keys, variables allowed.
struct PartialSchema;

impl Transform for PartialSchema {
    fn transform(&mut self, schema: &mut Schema) {
        transform_subschemas(self, schema);
        let Some(object) = schema.as_object_mut() else { return };
        // A default of `null` is that of an `Option`, and only says that the key may be left out.
        if object.get("default").is_some_and(Value::is_null) {
            object.remove("default");
        }
        if object.contains_key("properties") && object.get("required").is_some() {
            object.remove("required");
        }
        // A variable is a text, so each scalar gets an alternative, unless it may be any text anyway: a text
        // that has a variable in it, or one that spells the scalar, such as `"10"`.
        let is = |name: &str| match object.get("type") {
            Some(Value::String(written)) => written == name,
            Some(Value::Array(list)) => list.iter().any(|written| written == name),
            _ => false,
        };
        let is_text_any = is("string")
            && !["pattern", "enum", "const"].iter().any(|key| object.contains_key(*key));
        let pattern = if is_text_any || object.contains_key("const") {
            return;
        } else if is("boolean") {
            BOOLEAN_TEXT
        } else if is("integer") || is("number") {
            NUMBER_TEXT
        } else if object.contains_key("pattern") || object.contains_key("enum") {
            VARIABLE
        } else if let Some(Value::Array(names)) = object.get_mut("oneOf") {
            // An enum with a doc comment on each value is a list of constants instead of an `enum`.
            if names.iter().all(|name| name.get("const").is_some()) {
                names.push(json!({ "type": "string", "pattern": VARIABLE }));
            }
            return;
        } else {
            return;
        };
        // These are about the setting in both of its forms, so they are moved beside `anyOf`.
        let mut whole = std::mem::take(object);
        for key in ["title", "description", "default", "examples"] {
            object.extend(whole.remove_entry(key));
        }
        let text = json!({ "type": "string", "pattern": pattern });
        object.insert("anyOf".into(), json!([whole, text]));
    }
}

const ROTATE_AFTER: &str = "The age from which a tunnel through the hop ends as soon as nothing has moved in it for a second. \
                            If the last bytes came from the client, the tunnel waits for an answer first, up to 60 seconds. \
                            With `pick: sticky` the client gets the same member again, so `check` warns. It also warns if a new tunnel would get the same exit, as with `session: 7`.";

/// A pattern for a text that contains a variable.
const VARIABLE: &str = r"\$\{";

/// A pattern for a text that is read as a number or a boolean.
const NUMBER_TEXT: &str = r"^[0-9]+$|\$\{";
const BOOLEAN_TEXT: &str = r"^(true|false)$|\$\{";
