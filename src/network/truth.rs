//! Three-valued logic: true, false, and not known.

/// The value of a statement that may be unknown (Kleene's strong logic).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Truth {
    /// It holds.
    True,
    /// It does not hold.
    False,
    /// Nothing that was heard decides it.
    Undecided,
}

impl Truth {
    /// Returns the value as a boolean, or `None` if it is undecided.
    pub(crate) fn decided(self) -> Option<bool> {
        match self {
            Self::True => Some(true),
            Self::False => Some(false),
            Self::Undecided => None,
        }
    }

    /// Returns whether any of `values` is true. One that is true decides it, whatever the others are.
    pub(crate) fn any(values: impl IntoIterator<Item = Self>) -> Self {
        // An undecided value is kept until the end, since a true one may still follow.
        let mut result = Self::False;
        for value in values {
            match value {
                Self::True => return Self::True,
                Self::Undecided => result = Self::Undecided,
                Self::False => {}
            }
        }
        result
    }

    /// Returns whether all of `values` are true. One that is false decides it, whatever the others are.
    pub(crate) fn all(values: impl IntoIterator<Item = Self>) -> Self {
        // De Morgan's law holds in this logic too.
        !Self::any(values.into_iter().map(|value| !value))
    }

    /// Returns the word for it.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::True => "true",
            Self::False => "false",
            Self::Undecided => "undecided",
        }
    }
}

impl From<bool> for Truth {
    fn from(value: bool) -> Self {
        if value { Self::True } else { Self::False }
    }
}

impl std::ops::Not for Truth {
    type Output = Self;

    fn not(self) -> Self {
        match self {
            Self::True => Self::False,
            Self::False => Self::True,
            Self::Undecided => Self::Undecided,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Truth::{False, True, Undecided};
    use super::*;

    #[test]
    fn a_value_that_decides_outweighs_what_is_unknown() {
        for (values, any, all) in [
            (&[][..], False, True),
            (&[True, Undecided], True, Undecided),
            (&[Undecided, False], Undecided, False),
            (&[False, True], True, False),
            (&[Undecided], Undecided, Undecided),
            (&[True, True], True, True),
        ] {
            let each = || values.iter().copied();
            assert_eq!((Truth::any(each()), Truth::all(each())), (any, all), "{values:?}");
        }
        assert_eq!([!True, !False, !Undecided], [False, True, Undecided]);
    }
}
