//! Sizes as other programs and providers write them.

/// A number of bytes in a unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Amount<'a> {
    /// The number before the point.
    whole: u64,
    /// The digits after the point.
    part: &'a str,
    /// The power of 1000 or 1024: 1 for kilobytes, 4 for terabytes.
    power: u32,
    /// Whether the unit is one of ours, in powers of 1024.
    is_binary: bool,
}

impl<'a> Amount<'a> {
    /// Reads `text`, such as `64k`, `1.5 GB` or `5 gigabytes`.
    pub(super) fn parse(text: &'a str) -> Option<Self> {
        let text = text.trim();
        let digits = text.find(|one: char| !one.is_ascii_digit() && one != '.')?;
        let (number, unit) = text.split_at(digits);
        let unit = unit.trim().to_ascii_uppercase();
        let power = match &*unit {
            "K" | "KB" | "KI" | "KIB" | "KILOBYTES" | "KILOBYTE" => 1,
            "M" | "MB" | "MI" | "MIB" | "MEGABYTES" | "MEGABYTE" => 2,
            "G" | "GB" | "GI" | "GIB" | "GIGABYTES" | "GIGABYTE" => 3,
            "T" | "TB" | "TI" | "TIB" | "TERABYTES" | "TERABYTE" => 4,
            _ => return None,
        };
        let (whole, part) = number.split_once('.').unwrap_or((number, ""));
        let is_valid =
            part.len() <= PART_DIGITS_MAX && part.bytes().all(|one| one.is_ascii_digit());
        let whole = whole.parse().ok().filter(|_| is_valid)?;
        Some(Self { whole, part, power, is_binary: unit.contains('I') && unit.len() <= 3 })
    }

    /// Returns how to write this size as `key` in the units that are understood here.
    pub(super) fn in_our_units(self, key: &str) -> Option<String> {
        Some(format!("write `{key}: {}`", self.binary()?))
    }

    /// Returns what to write as `key`, a size that a provider may count in powers of 1000.
    pub(super) fn instead(self, key: &str) -> Option<String> {
        let binary = self.binary()?;
        if self.is_binary {
            return Some(format!("write `{key}: {binary}`"));
        }
        let decimal = self.decimal()?;
        Some(format!(
            "write `{key}: {binary}`, or `{key}: {decimal}` to count as providers do, in powers of 1000"
        ))
    }

    /// Returns the size as a provider would mean it.
    pub(super) fn as_of_providers(self) -> Option<String> {
        if self.is_binary { self.binary() } else { self.decimal().map(|bytes| bytes.to_string()) }
    }

    /// Returns the size in powers of 1024. A fraction is written in the next smaller unit.
    fn binary(self) -> Option<String> {
        const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
        let unit = |power: u32| UNITS.get(usize::try_from(power).ok()?).copied();
        if self.part.is_empty() {
            return Some(format!("{}{}", self.whole, unit(self.power)?));
        }
        let part: f64 = format!("0.{}", self.part).parse().ok()?;
        let number = self.whole.checked_mul(1024)?.checked_add((part * 1024.0).round() as u64)?;
        Some(format!("{number}{}", unit(self.power - 1)?))
    }

    /// Returns the number of bytes in powers of 1000.
    fn decimal(self) -> Option<u64> {
        let bytes = 1000_u64.checked_pow(self.power)?;
        let digits = u32::try_from(self.part.len()).ok()?;
        let part: u64 = format!("0{}", self.part).parse().ok()?;
        let part = part.checked_mul(bytes)? / 10_u64.checked_pow(digits)?;
        self.whole.checked_mul(bytes)?.checked_add(part)
    }
}

/// The beginning of the advice for a size without a clear unit.
pub(super) const UNITS: &str =
    "the units are B, KiB, MiB, GiB and TiB, and a number without one counts bytes";
/// More digits are not a size that a person writes.
const PART_DIGITS_MAX: usize = 6;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_in_any_spelling_becomes_one_of_ours() {
        let check = |text: &str, expected: &str| {
            let help = Amount::parse(text).and_then(|amount| amount.in_our_units("size"));
            assert_eq!(help.unwrap_or_default(), expected, "{text}");
        };
        for text in ["64k", "64K", "64kb", "64 KB", "64Ki", "64kib", "64 kilobytes"] {
            check(text, "write `size: 64KiB`");
        }
        check("5G", "write `size: 5GiB`");
        check("1.5MiB", "write `size: 1536KiB`");
        check("0.5KiB", "write `size: 512B`");
        check("2TB", "write `size: 2TiB`");
        check("0.5TB", "write `size: 512GiB`");
        for other in ["64", "k", "-1k", "1.2.3k", "64 pages", ".5M", "99999999999999999999T"] {
            check(other, "");
        }
    }

    #[test]
    fn a_size_of_a_provider_is_computed_from_the_value() {
        let check = |text: &str, expected: &str| {
            let help = Amount::parse(text).and_then(|amount| amount.instead("bytes"));
            let help = help.unwrap_or_default();
            assert!(help.contains(expected), "{text}: {help}");
        };
        check("500GB", "`bytes: 500GiB`, or `bytes: 500000000000` to count as providers do");
        check("1.5 TB", "`bytes: 1536GiB`, or `bytes: 1500000000000`");
        check("5 gigabytes", "`bytes: 5GiB`, or `bytes: 5000000000`");
        check("1.5GiB", "write `bytes: 1536MiB`");
    }
}
