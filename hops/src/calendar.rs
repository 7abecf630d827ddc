//! The Gregorian calendar: days since 1970.

/// Counts the days from 1970 to the first of a month, which is from 1 to 12. The result is negative before 1970.
///
/// A year begins in March here, so that a leap day is the last day of a year. The months before month `m` then have
/// `(153 m + 2) / 5` days together.
pub(crate) fn days_before(year: i64, month: i64) -> i64 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 - DAYS_TO_1970
}

/// Returns the number of days in a month, which is from 1 to 12.
pub(crate) fn days_in(year: i64, month: i64) -> i64 {
    let next = if month < 12 { days_before(year, month + 1) } else { days_before(year + 1, 1) };
    next - days_before(year, month)
}

/// The days from the first of March of the year 0.
const DAYS_TO_1970: i64 = 719_468;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_counted_over_leap_years() {
        assert_eq!(days_before(1970, 1), 0);
        assert_eq!(days_before(2000, 3), 11_017);
        assert_eq!(days_before(2026, 11), 20_758);
    }

    #[test]
    fn months_have_their_lengths() {
        let lengths = |year| (1..=12).map(|month| days_in(year, month)).collect::<Vec<_>>();
        assert_eq!(lengths(2026), [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]);
        for (year, february) in [(1970, 28), (1972, 29), (2000, 29), (2100, 28)] {
            assert_eq!(lengths(year)[1], february, "{year}");
        }
    }
}
