//! Whether a script can tell two URLs of one host apart.

/// Returns whether the script could look at more of a request than its host.
///
/// Callers cache answers. If this is false, the answer for one URL holds for all URLs of the host. A script can read the URL
/// only by the name of its first parameter, or by `arguments`, `eval` or `Function`. This is cautious: a word in a comment
/// counts too, and so does a function whose parameters are not found. Then answers are cached for one URL each, which is
/// always right. `\u0075rl` is another spelling of `url`, so a script with such an escape counts as one that looks at the URL.
pub fn looks_at_url(text: &str) -> bool {
    if text.contains(r"\u") {
        return true;
    }
    let Some(parameter) = first_parameter(text) else { return true };
    let count = words(text).filter(|word| *word == parameter).count();
    count > 1 || words(text).any(|word| matches!(word, "arguments" | "eval" | "Function"))
}

/// Returns the name of the first parameter of `FindProxyForURL`, if the name occurs once, in a usual declaration.
fn first_parameter(text: &str) -> Option<&str> {
    let mut parts = text.split("FindProxyForURL");
    let (before, after) = (parts.next()?, parts.next()?);
    let is_declared = before.trim_end().ends_with("function") && parts.next().is_none();
    let inside = after.trim_start().strip_prefix('(').filter(|_| is_declared)?;
    let parameter = inside.split([',', ')']).next()?.trim();
    (!parameter.is_empty() && parameter.chars().all(is_word)).then_some(parameter)
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c| !is_word(c))
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '$')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_that_never_names_its_first_parameter_can_not_look_at_it() {
        assert!(!looks_at_url("function FindProxyForURL(url, host) { return 'DIRECT'; }"));
        assert!(!looks_at_url("function FindProxyForURL ( u , host) { return f(host, 'url'); }"));
    }

    #[test]
    fn every_other_script_may() {
        for text in [
            "function FindProxyForURL(url, host) { return g(url); }",
            "function FindProxyForURL(url, host) { return arguments[0]; }",
            r"function FindProxyForURL(url, host) { return g(\u0075rl); }",
            r"function FindProxyForURL(url, host) { return \u{61}rguments[0]; }",
            "function FindProxyForURL(url, host) { return eval('u' + 'rl'); }",
            "var FindProxyForURL = function (url, host) { return 'DIRECT'; }",
            "function FindProxyForURL({ length }, host) { return 'DIRECT'; }",
            "function FindProxyForURL(url, host) {} function FindProxyForURL(u, host) {}",
            "",
        ] {
            assert!(looks_at_url(text), "{text}");
        }
    }
}
