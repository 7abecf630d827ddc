//! Durations in words.

use std::time::Duration;

/// Returns `duration` as people read it, such as `4 days 11 h`.
pub(crate) fn in_words(duration: Duration) -> String {
    // humantime writes `4days 11h`.
    let text = humantime::format_duration(duration).to_string();
    let mut words = String::with_capacity(text.len() + 4);
    let mut last = ' ';
    for letter in text.chars() {
        if last.is_ascii_digit() && letter.is_alphabetic() {
            words.push(' ');
        }
        words.push(letter);
        last = letter;
    }
    words
}

/// Returns `duration` in seconds, rounded up, so that a wait that is not over never shows as zero.
pub(crate) fn whole_seconds(duration: Duration) -> Duration {
    Duration::from_secs(duration.as_secs() + u64::from(duration.subsec_nanos() > 0))
}

/// Returns `duration` rounded down to milliseconds.
pub(crate) fn whole_milliseconds(duration: Duration) -> Duration {
    Duration::new(duration.as_secs(), duration.subsec_millis() * 1_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_that_is_not_over_has_a_second_left() {
        let rounded = |millis| whole_seconds(Duration::from_millis(millis)).as_secs();
        assert_eq!([0, 1, 999, 1000, 1001].map(rounded), [0, 1, 1, 1, 2]);
    }

    #[test]
    fn a_number_and_its_unit_are_two_words() {
        assert_eq!(in_words(Duration::from_secs(385_200)), "4 days 11 h");
        assert_eq!(in_words(Duration::from_millis(90_500)), "1 m 30 s 500 ms");
        assert_eq!(in_words(Duration::ZERO), "0 s");
    }
}
