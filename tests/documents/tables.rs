//! The tables in `docs/` that repeat what the types say: keys, commands, flags and metrics.
//!
//! A page marks the place of a table with `<!-- generated: NAME -->` and `<!-- end -->`.

use std::{collections::BTreeMap, fmt::Write as _};

use clap::{Arg, Command, CommandFactory as _};
use mooltiroute::{
    cli::Cli,
    config::schema::schema,
    hops::{kinds, schemars::generate::SchemaSettings},
};
use serde_json::Value;

use crate::metrics;

/// Returns every table by its name.
pub(crate) fn all() -> BTreeMap<String, String> {
    let registry = kinds::builtin();
    let schema = schema(&registry);
    let sections = &schema["properties"];
    let mut tables = BTreeMap::new();
    for name in ["server", "timeouts", "limits", "log"] {
        tables.insert(format!("keys {name}"), keys(&sections[name]));
    }
    tables.insert("keys hop".into(), keys(&sections["hops"]["additionalProperties"]));
    tables.insert("keys chain".into(), keys(&sections["chains"]["additionalProperties"]));
    tables.insert("keys route".into(), keys(&sections["routes"]["items"]));
    for name in registry.names() {
        // The schema for editors drops `required`, since a file may hold a part of a hop. The schema of the kind has it.
        let settings = SchemaSettings::draft07().with(|settings| settings.inline_subschemas = true);
        let kind = registry.kind(name).unwrap();
        let kind = kind.schema(&mut settings.into_generator()).to_value();
        tables.insert(format!("keys {name}"), keys(&kind));
    }
    let command = Cli::command();
    tables.insert("commands".into(), commands(&command));
    tables.insert("flags".into(), flags(&command));
    tables.insert("metrics".into(), metrics::table());
    tables
}

/// Returns the names of the commands that `--help` shows.
pub(crate) fn command_names() -> Vec<String> {
    let command = Cli::command();
    visible(&command).map(|command| command.get_name().to_owned()).collect()
}

fn keys(schema: &Value) -> String {
    let mut table = "| key | default | meaning |\n| --- | --- | --- |\n".to_owned();
    write_keys("", schema, &mut table);
    table
}

/// Writes a row for each property of `schema`, and rows below `prefix` for properties that are mappings themselves.
fn write_keys(prefix: &str, schema: &Value, table: &mut String) {
    let Some(properties) = properties(schema) else { return };
    let required: Vec<&str> =
        schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    for (name, property) in properties {
        let key = format!("{prefix}{name}");
        // A kind lists the keys it requires. In a section, a key without a default must be written unless it may be null.
        let is_required = if schema.get("required").is_some() || property.get("default").is_some() {
            required.contains(&name.as_str())
        } else {
            !is_optional(property)
        };
        let default = match property.get("default") {
            Some(Value::Null) | None if is_required => "required".to_owned(),
            Some(Value::Null) | None => "none".to_owned(),
            Some(Value::String(text)) => format!("`{text}`"),
            Some(Value::Array(list)) if list.is_empty() => "none".to_owned(),
            Some(Value::Object(map)) if map.is_empty() => "none".to_owned(),
            // Its keys have rows and defaults of their own.
            Some(Value::Object(_)) => "see below".to_owned(),
            Some(other) => format!("`{other}`"),
        };
        let mut meaning = property["description"].as_str().unwrap_or_default().replace('\n', " ");
        if let Some(choices) = choices(property) {
            let _ = write!(meaning, " One of {choices}.");
        }
        let _ = writeln!(table, "| `{key}` | {default} | {} |", meaning.replace('|', "\\|"));
        write_keys(&format!("{key}."), property, table);
    }
}

/// Returns the properties of a mapping, which may be one of several forms of a value.
fn properties(schema: &Value) -> Option<&serde_json::Map<String, Value>> {
    let forms = schema["anyOf"].as_array().into_iter().flatten();
    schema["properties"].as_object().or_else(|| forms.filter_map(properties).next())
}

fn is_optional(schema: &Value) -> bool {
    let types = schema["type"].as_array().into_iter().flatten();
    let mut forms = schema["anyOf"].as_array().into_iter().flatten();
    schema["type"] == "null"
        || types.into_iter().any(|name| name == "null")
        || forms.any(is_optional)
}

/// Returns the words that a setting chooses from, if it takes nothing else but a variable.
fn choices(schema: &Value) -> Option<String> {
    let is_variable = |form: &&Value| form["pattern"].as_str().is_some_and(|text| text == r"\$\{");
    if let Some(forms) = schema["anyOf"].as_array() {
        let mut forms = forms.iter().filter(|form| !is_variable(form));
        return forms.next().and_then(choices).filter(|_| forms.next().is_none());
    }
    let named = schema["oneOf"].as_array().into_iter().flatten();
    let named = named.filter_map(|form| form["const"].as_str());
    let listed = schema["enum"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let words: Vec<String> = named.chain(listed).map(|word| format!("`{word}`")).collect();
    (!words.is_empty()).then(|| words.join(", "))
}

fn commands(command: &Command) -> String {
    let mut table = "| command | does |\n| --- | --- |\n".to_owned();
    for command in visible(command) {
        let mut usage = format!("mooltiroute {}", command.get_name());
        for argument in command.get_positionals() {
            let name = value_name(argument);
            let _ = match argument.is_required_set() {
                true => write!(usage, " {name}"),
                false => write!(usage, " [{name}]"),
            };
        }
        let about = command.get_about().map(ToString::to_string).unwrap_or_default();
        let _ = writeln!(table, "| `{usage}` | {about} |");
    }
    table
}

fn flags(command: &Command) -> String {
    // The flag with its text, and the commands that have it.
    let mut rows: Vec<(String, String, Vec<&str>)> = Vec::new();
    for command in visible(command) {
        for argument in command.get_arguments() {
            let Some(long) = argument.get_long().filter(|long| *long != "help") else { continue };
            let mut flag = format!("--{long}");
            if let Some(short) = argument.get_short() {
                flag.insert_str(0, &format!("-{short}, "));
            }
            if argument.get_action().takes_values() {
                let _ = write!(flag, " {}", value_name(argument));
            }
            let help = argument.get_help().map(ToString::to_string).unwrap_or_default();
            match rows.iter_mut().find(|row| row.0 == flag && row.1 == help) {
                Some(row) => row.2.push(command.get_name()),
                None => rows.push((flag, help, vec![command.get_name()])),
            }
        }
    }
    let mut table = "| flag | of | does |\n| --- | --- | --- |\n".to_owned();
    for (flag, help, commands) in rows {
        let commands: Vec<String> = commands.iter().map(|name| format!("`{name}`")).collect();
        let _ = writeln!(table, "| `{flag}` | {} | {help} |", commands.join(", "));
    }
    table
}

fn visible(command: &Command) -> impl Iterator<Item = &Command> {
    command
        .get_subcommands()
        .filter(|command| !command.is_hide_set() && command.get_name() != "help")
}

fn value_name(argument: &Arg) -> String {
    match argument.get_value_names() {
        Some([name, ..]) => name.to_string(),
        _ => argument.get_id().as_str().to_uppercase(),
    }
}
