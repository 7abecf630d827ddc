//! Values of a budget in other forms, each with the line to write.

use serde_yaml::Value;

use crate::config::yaml::tree::advice::sizes::{Amount, UNITS};

/// Returns what to write as `budget` instead of `value`, if that is only its size. If not `is_shown`, the size isn't repeated.
pub(super) fn whole_instead(value: &Value, is_shown: bool) -> Option<String> {
    let (size, per) = match value {
        Value::Number(bytes) => (bytes.as_u64()?.to_string(), None),
        Value::String(text) => {
            let parts = text.split_once('/').or_else(|| text.split_once(" per "));
            let parts = parts.or_else(|| text.rsplit_once(' '));
            let parts = parts.and_then(|(size, per)| Some((size, period(per.trim())?)));
            // The blank may also be the one before the unit, as in `5 GB`.
            let (size, per) = parts.map_or((&**text, None), |(size, per)| (size, Some(per)));
            (Amount::parse(size).and_then(|amount| amount.as_of_providers())?, per)
        }
        _ => return None,
    };
    let size = if is_shown { &*size } else { "SIZE" };
    Some(match per {
        Some(per) => format!("write `budget: {{ bytes: {size}, per: {per} }}`"),
        None => format!(
            "write `budget: {{ bytes: {size}, per: month }}`, or `hour`, `day` or `week` in place of `month`"
        ),
    })
}

/// Returns what to write as `bytes` instead of `text`.
pub(super) fn bytes_instead(text: &str, is_shown: bool) -> String {
    match Amount::parse(text).filter(|_| is_shown).and_then(|amount| amount.instead("bytes")) {
        Some(help) => help,
        None => format!("{UNITS}: 50 GB, as providers count, is `50000000000`"),
    }
}

/// Returns what to write as `then` instead of `value`. `is_chain` says whether a word is the name of a chain, which may
/// be shown.
pub(super) fn then_instead(value: &Value, is_chain: impl Fn(&str) -> bool) -> Option<String> {
    let text = match value {
        Value::String(text) => text,
        Value::Sequence(list) => list.first()?.as_str()?,
        _ => return None,
    };
    let text = text.trim();
    Some(match &*text.to_ascii_lowercase() {
        "direct" => "write `then: { chain: direct }`; requests then go without any hop".to_owned(),
        "block" | "reject" | "deny" | "stop" | "error" | "fail" | "refused" => {
            "write `then: refuse`".to_owned()
        }
        _ if is_chain(text) => format!("write `then: {{ chain: {text} }}`"),
        _ => "write `then: refuse`, or `then: { chain: CHAIN }`".to_owned(),
    })
}

/// Returns what to write as `per` instead of `text`.
pub(super) fn per_instead(text: &str) -> Option<String> {
    period(text.trim()).map(|per| format!("write `per: {per}`"))
}

/// Returns a percentage with its sign.
pub(super) fn percent_instead(value: &Value, is_shown: bool) -> Option<String> {
    let number = match value {
        Value::Number(number) => number.as_f64()?,
        Value::String(text) => text.trim().trim_end_matches('%').trim_end().parse().ok()?,
        _ => return None,
    };
    if number > 100.0 || number <= 0.0 {
        return Some("the warning comes at 1% to 100% of the budget, as in `warn: 80%`".to_owned());
    }
    // `0.8` is a part of one, and `1` could be either.
    let percent = if number > 0.0 && number < 1.0 { (number * 100.0).round() } else { number };
    let is_percentage = (1.0..=100.0).contains(&percent) && percent.fract() == 0.0 && is_shown;
    is_percentage.then(|| format!("write `warn: {percent}%`"))
}

/// Returns the period that is meant by a word or a duration.
fn period(text: &str) -> Option<&'static str> {
    Some(match &*text.to_ascii_lowercase() {
        "hour" | "hourly" | "h" | "1h" | "60m" => "hour",
        "day" | "daily" | "d" | "1d" | "24h" => "day",
        "week" | "weekly" | "w" | "1w" | "7d" => "week",
        "month" | "monthly" | "mo" | "1mo" | "30d" | "31d" => "month",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::{
        super::testing::{check, yaml},
        *,
    };

    #[test]
    fn a_size_becomes_a_budget() {
        let check = |text: &str, expected: &str| check(whole_instead(&yaml(text), true), expected);
        const OTHERS: &str = "`, or `hour`, `day` or `week` in place of `month`";
        check("50GiB", &format!("write `budget: {{ bytes: 50GiB, per: month }}{OTHERS}"));
        check("50 GB", &format!("write `budget: {{ bytes: 50000000000, per: month }}{OTHERS}"));
        check("1000", &format!("write `budget: {{ bytes: 1000, per: month }}{OTHERS}"));
        check("5GiB/day", "write `budget: { bytes: 5GiB, per: day }`");
        check("50 GB per month", "write `budget: { bytes: 50000000000, per: month }`");
        check("5GiB per week", "write `budget: { bytes: 5GiB, per: week }`");
        check("hunter2", "");
        assert!(whole_instead(&yaml("50GiB"), false).is_some_and(|help| help.contains("SIZE")));
    }

    #[test]
    fn other_words_for_a_budget_are_understood() {
        let then = |text: &str| then_instead(&yaml(text), |name| name == "spare");
        check(then("direct"), "write `then: { chain: direct }`; requests then go without any hop");
        check(then("[spare]"), "write `then: { chain: spare }`");
        check(then("block"), "write `then: refuse`");
        check(then("hunter2"), "write `then: refuse`, or `then: { chain: CHAIN }`");
        check(per_instead("24h"), "write `per: day`");
        check(per_instead("hunter2"), "");
        check(percent_instead(&yaml("80"), true), "write `warn: 80%`");
        check(percent_instead(&yaml("0.8"), true), "write `warn: 80%`");
        let range = "the warning comes at 1% to 100% of the budget, as in `warn: 80%`";
        check(percent_instead(&yaml("800"), true), range);
        check(percent_instead(&yaml("120%"), true), range);
        check(percent_instead(&yaml("80"), false), "");
    }
}
