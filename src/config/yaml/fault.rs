//! The reasons why a text can't be read as a configuration, each with its code, its words and its advice.

use std::{borrow::Cow, fmt};

use mooltiroute_hops::Encryption;

use crate::config::{
    source::SIZE_HELP,
    yaml::{
        foreign::ForeignFormat,
        syntax::SyntaxFault,
        tree::{EXPANDED_BYTES_MAX, NODES_MAX},
    },
};

/// The reason why a text can't be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum YamlFault {
    /// It is not YAML.
    Syntax(SyntaxFault),
    /// A value does not fit its tag, such as `!!int`.
    Tag,
    /// A number is larger than any setting.
    Number,
    /// The second reader refuses what the first one has accepted.
    Unreadable,
    /// `<<` names something that can't be merged, as serde_yaml puts it. Its words quote nothing.
    Merge(String),
    /// `<<` has a value that is neither a mapping nor a list of mappings.
    MergeValue,
    /// A second document begins.
    Documents,
    /// An alias is inside of what it names.
    Alias,
    /// Lists and mappings are nested deeper than this.
    Depth(usize),
    /// There are too many keys and values.
    Size,
    /// The texts are too long together once the aliases are expanded.
    ExpandedTexts,
    /// A key is a list or a mapping.
    Key,
    /// `{{ NAME }}`, the variable of a template language, with what to write instead.
    Template(String),
    /// A value is encrypted, or the whole file if `is_file` says so.
    Encrypted { encryption: Encryption, is_file: bool },
    /// The file is not YAML at all.
    Foreign(ForeignFormat),
    /// A key is in one mapping twice. Its name is `None` if it could be a secret.
    DuplicateKey(Option<String>),
}

impl YamlFault {
    /// Returns the short, stable name of this kind of fault, for programs.
    pub(crate) fn code(&self) -> &'static str {
        match self {
            Self::Syntax(_)
            | Self::Tag
            | Self::Number
            | Self::Unreadable
            | Self::Merge(_)
            | Self::Template(_)
            | Self::Foreign(_) => "syntax",
            Self::Encrypted { .. } => "encrypted",
            Self::MergeValue => "merge",
            Self::Documents => "documents",
            Self::Alias => "alias",
            Self::Depth(_) => "depth",
            Self::Size | Self::ExpandedTexts => "size",
            Self::Key => "key",
            Self::DuplicateKey(_) => "duplicate-key",
        }
    }

    /// Returns advice on how to mend it.
    pub(crate) fn help(&self) -> Option<Cow<'static, str>> {
        match self {
            Self::Syntax(fault) => fault.help(),
            Self::Template(help) => Some(help.clone().into()),
            Self::Foreign(format) => Some(format.help().into()),
            Self::Encrypted { encryption, .. } => Some(encryption.help().into()),
            Self::Number => Some("write a smaller one, or put it in quotes if it is a text".into()),
            Self::Depth(_) => {
                Some("no setting is nested that deep; look for a bracket too many".into())
            }
            Self::Documents => Some("remove the `---`, or write a file for each document".into()),
            Self::Size => Some(SIZE_HELP.into()),
            Self::ExpandedTexts => Some(
                "a text counts again at each `*NAME` that stands for it; use fewer of them".into(),
            ),
            Self::Key => Some("write a text that begins with `{` or `[` in quotes".into()),
            Self::DuplicateKey(_) => {
                Some("remove one of the two, or put their values together".into())
            }
            _ => None,
        }
    }
}

impl fmt::Display for YamlFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Syntax(fault) => return fault.fmt(f),
            Self::Foreign(format) => return format.fmt(f),
            Self::Encrypted { encryption, is_file: true } => {
                return write!(f, "this file {encryption}");
            }
            Self::Encrypted { encryption, is_file: false } => {
                return write!(f, "this value {encryption}");
            }
            Self::Template(_) => "`{{ }}` is not a variable here",
            Self::Merge(why) => return write!(f, "a merge key can't be followed: {why}"),
            Self::Depth(limit) => {
                return write!(f, "lists and mappings are nested more than {limit} deep");
            }
            Self::DuplicateKey(Some(name)) => {
                return write!(f, "the key `{name}` appears twice in one mapping");
            }
            Self::DuplicateKey(None) => "this key appears twice in one mapping",
            Self::Tag => "this value does not fit its YAML tag; remove the tag",
            Self::Number => "this number is too large",
            Self::Unreadable => "this can't be read; write texts and keys in quotes",
            Self::MergeValue => "`<<` takes a mapping, or a list of mappings",
            Self::Documents => "a second document begins here; a file holds one",
            Self::Alias => "this alias refers to a value that contains it",
            Self::Size => {
                return write!(
                    f,
                    "the configuration has more than {NODES_MAX} keys and values; the limit is reached here"
                );
            }
            Self::ExpandedTexts => {
                return write!(
                    f,
                    "the configuration is over {} MiB once its aliases are expanded; the limit is reached here",
                    EXPANDED_BYTES_MAX >> 20
                );
            }
            Self::Key => "a key must be a plain text",
        })
    }
}
