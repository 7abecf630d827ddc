//! Patterns of names, with `*` and `?`.

use std::fmt;

/// A pattern of a whole name: `*` stands for any characters, `?` for exactly one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Glob(Box<str>);

impl Glob {
    /// Returns the pattern that is written as `text`.
    pub fn new(text: &str) -> Self {
        Self(text.into())
    }

    /// Returns whether the pattern stands for all of `name`.
    ///
    /// A star first takes nothing. When a later part does not fit, the last star takes one character more. Earlier stars
    /// never need to: whatever fits after them fits after the last one too. So the time is at most the product of both
    /// lengths, however many stars a hostile pattern has.
    pub fn matches(&self, name: &str) -> bool {
        let (pattern, name) = (self.0.as_bytes(), name.as_bytes());
        let (mut at, mut read) = (0, 0);
        let mut last_star = None;
        while read < name.len() {
            match pattern.get(at) {
                Some(b'*') => {
                    last_star = Some((at, read));
                    at += 1;
                }
                Some(byte) if *byte == b'?' || *byte == name[read] => {
                    at += 1;
                    read += 1;
                }
                _ => {
                    let Some((star, taken)) = &mut last_star else { return false };
                    *taken += 1;
                    (at, read) = (*star + 1, *taken);
                }
            }
        }
        // The name is used up. Only stars may be left, which can stand for nothing.
        pattern[at..].iter().all(|byte| *byte == b'*')
    }
}

impl fmt::Display for Glob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_glob_stands_for_a_whole_name() {
        for (glob, name, expected) in [
            ("tun*", "tun0", true),
            ("tun*", "tun", true),
            ("tun*", "utun0", false),
            ("*tun*", "utun0", true),
            ("tun?", "tun0", true),
            ("tun?", "tun", false),
            ("tun0", "tun0", true),
            ("tun0", "tun01", false),
            ("*", "", true),
            ("", "", true),
            ("", "a", false),
            ("a*b*c", "aXbYbZc", true),
            ("a*b*c", "aXbYbZ", false),
            ("proxy*.corp.example", "proxy-7.corp.example", true),
        ] {
            assert_eq!(Glob::new(glob).matches(name), expected, "{glob} {name}");
        }
    }

    #[test]
    fn a_hostile_glob_costs_no_exponential_time() {
        let glob = Glob::new(&"*a".repeat(200));
        assert!(!glob.matches(&format!("{}b", "a".repeat(5000))));
    }
}
