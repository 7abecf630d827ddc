//! Recognises files and values that a tool for secrets in shared repositories has encrypted.

use std::{error::Error, fmt, io};

/// The tool that has encrypted a file or a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Encryption {
    /// Ansible Vault.
    AnsibleVault,
    /// SOPS.
    Sops,
    /// hiera-eyaml, of Puppet.
    Eyaml,
    /// git-crypt.
    GitCrypt,
    /// OpenPGP, as GnuPG writes it.
    Pgp,
    /// age.
    Age,
}

impl Encryption {
    /// Returns the tool that has encrypted the file or the value `bytes`, if it is one of these.
    pub fn of(bytes: &[u8]) -> Option<Self> {
        // Editors of Windows write a byte order mark.
        let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes).trim_ascii_start();
        let found = MARKS.iter().find(|(mark, _)| bytes.starts_with(mark.as_bytes()));
        found.map(|(_, encryption)| *encryption)
    }

    /// Returns the commands that decrypt it, or what to write instead.
    pub fn help(self) -> &'static str {
        match self {
            Self::AnsibleVault => {
                "decrypt it when you deploy (a template of Ansible does, and so does `ansible-vault view FILE`), or name a file \
                 or a variable that holds the plain text"
            }
            Self::Sops => {
                "decrypt it when you deploy (`sops -d FILE`), or name a file or a variable that holds the plain text"
            }
            Self::Eyaml => {
                "decrypt it when you deploy (`eyaml decrypt -f FILE`), or name a file or a variable that holds the plain text"
            }
            Self::GitCrypt => "run `git-crypt unlock` in the repository before you deploy it",
            Self::Pgp => {
                "decrypt it when you deploy (`gpg -d FILE`), or name a file or a variable that holds the plain text"
            }
            Self::Age => {
                "decrypt it when you deploy (`age -d -i KEY FILE`), or name a file or a variable that holds the plain text"
            }
        }
    }
}

/// The reason why the content of a file can't be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct EncryptedFile(pub(crate) Encryption);

impl EncryptedFile {
    /// Returns the tool that has encrypted a file if that is why it can't be read.
    pub(crate) fn behind(error: &io::Error) -> Option<Encryption> {
        error.get_ref()?.downcast_ref::<Self>().map(|Self(encryption)| *encryption)
    }
}

impl fmt::Display for EncryptedFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(encryption) = self;
        write!(f, "it {encryption}; {}", encryption.help())
    }
}

impl Error for EncryptedFile {}

impl fmt::Display for Encryption {
    /// Writes a clause about the file or the value, without its subject.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tool = match self {
            Self::AnsibleVault => "Ansible Vault",
            Self::Sops => "SOPS",
            Self::Eyaml => "hiera-eyaml",
            Self::GitCrypt => "git-crypt",
            Self::Pgp => "OpenPGP",
            Self::Age => "age",
        };
        write!(f, "is encrypted by {tool}, and Mooltiroute can't decrypt it")
    }
}

/// The first characters of what each tool writes.
const MARKS: [(&str, Encryption); 7] = [
    ("$ANSIBLE_VAULT;", Encryption::AnsibleVault),
    ("ENC[AES256_GCM,", Encryption::Sops),
    ("ENC[PKCS7,", Encryption::Eyaml),
    ("\0GITCRYPT\0", Encryption::GitCrypt),
    ("-----BEGIN PGP MESSAGE-----", Encryption::Pgp),
    ("age-encryption.org/v1", Encryption::Age),
    ("-----BEGIN AGE ENCRYPTED FILE-----", Encryption::Age),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tools_are_told_by_their_first_bytes() {
        for (bytes, expected) in [
            (&b"$ANSIBLE_VAULT;1.1;AES256\n6162\n"[..], Some(Encryption::AnsibleVault)),
            (b"\xef\xbb\xbf\r\n$ANSIBLE_VAULT;1.2;AES256;x", Some(Encryption::AnsibleVault)),
            (b"ENC[AES256_GCM,data:x,iv:y,tag:z,type:str]", Some(Encryption::Sops)),
            (b"ENC[PKCS7,MIIB]", Some(Encryption::Eyaml)),
            (b"\0GITCRYPT\0\xff\xfe", Some(Encryption::GitCrypt)),
            (b"-----BEGIN PGP MESSAGE-----\n", Some(Encryption::Pgp)),
            (b"age-encryption.org/v1\n-> X25519 x\n\xff", Some(Encryption::Age)),
            (b"-----BEGIN AGE ENCRYPTED FILE-----\n", Some(Encryption::Age)),
            (b"", None),
            (b"ENC[", None),
            (b"a $ANSIBLE_VAULT;", None),
            (b"-----BEGIN PGP PUBLIC KEY BLOCK-----", None),
        ] {
            assert_eq!(Encryption::of(bytes), expected, "{}", bytes.escape_ascii());
        }
    }
}
