//! Shortens texts, and marks that it did.

/// Returns `text` with at most `chars_max` characters. The last one is `…` if something is left out.
pub(crate) fn shortened(text: &str, chars_max: usize) -> String {
    if text.chars().nth(chars_max).is_none() {
        return text.to_owned();
    }
    text.chars().take(chars_max.saturating_sub(1)).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_text_that_is_too_long_is_cut_and_marked() {
        for (text, expected) in [("", ""), ("öl", "öl"), ("öle", "öle"), ("ölen", "öl…")] {
            assert_eq!(shortened(text, 3), expected);
        }
    }
}
