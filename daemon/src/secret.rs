//! Secrets that lie in files.

use std::{
    fmt,
    fs::File,
    io::{self, Read},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use base64::{
    Engine, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};

/// 256 bits that nobody else knows.
///
/// It is compared in constant time. `Debug` does not show it, and there is no `Display`.
#[derive(Clone)]
pub struct Key([u8; 32]);

/// Text that nobody else knows, such as a password.
///
/// `Debug` does not show it, and there is no `Display`.
#[derive(Clone)]
pub struct Secret(String);

/// Why a secret cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The file is not there or not readable.
    #[error("cannot read {}; it must be a file that this user may read", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        cause: io::Error,
    },
    /// The file is open to every user of the machine.
    #[error(
        "{} is open to every user (mode {mode:04o}); close it with chmod o= {}",
        path.display(),
        path.display()
    )]
    Open {
        /// The file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// The file does not hold what it should.
    #[error("{} {problem}", path.display())]
    Unusable {
        /// The file.
        path: PathBuf,
        /// What is wrong with it, in words that follow its name, and the remedy.
        problem: &'static str,
    },
}

/// Passwords and tokens are shorter; a file that is not is the wrong one.
const MAX_FILE: usize = 4096;

/// The bits of a mode that let others do anything with a file.
const OTHERS: u32 = 0o007;

impl Key {
    /// Reads one line: 64 hexadecimal digits, or 32 bytes in base64 of either alphabet.
    ///
    /// # Errors
    /// [`SecretError`] names the file and the remedy, never what the file holds.
    pub fn read(path: &Path) -> Result<Self, SecretError> {
        let text = read(path)?;
        Self::parse(&text).ok_or_else(|| {
            unusable(
                path,
                "holds no key; it must be one line of 64 hexadecimal digits, as of openssl rand \
                 -hex 32",
            )
        })
    }

    /// Reads another key than `present`, as is needed while keys are changed.
    ///
    /// # Errors
    /// As of [`Self::read`], and if it is the same.
    pub fn read_other(path: &Path, present: &Self) -> Result<Self, SecretError> {
        let other = Self::read(path)?;
        if other == *present {
            return Err(unusable(
                path,
                "holds the key that is in use; it must be the one before, or the one to come",
            ));
        }
        Ok(other)
    }

    /// The bytes, for whatever is keyed by them.
    pub fn expose(&self) -> &[u8; 32] {
        &self.0
    }

    fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        match text.len() {
            64 => hexadecimal(text.as_bytes()),
            43 | 44 => [alphabet::URL_SAFE, alphabet::STANDARD].iter().find_map(|alphabet| {
                let engine = GeneralPurpose::new(alphabet, UNPADDED_OR_PADDED);
                engine.decode(text).ok()?.try_into().ok()
            }),
            _ => None,
        }
        .map(Self)
    }
}

const UNPADDED_OR_PADDED: GeneralPurposeConfig =
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);

fn hexadecimal(digits: &[u8]) -> Option<[u8; 32]> {
    let mut key = [0; 32];
    for (byte, pair) in key.iter_mut().zip(digits.chunks_exact(2)) {
        let mut value = 0;
        for &digit in pair {
            value = value << 4 | char::from(digit).to_digit(16)?;
        }
        *byte = u8::try_from(value).ok()?;
    }
    Some(key)
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        // The comparison of hashes takes the same time wherever they differ.
        blake3::Hash::from_bytes(self.0) == blake3::Hash::from_bytes(other.0)
    }
}

impl Eq for Key {}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(…)")
    }
}

impl Secret {
    /// Reads one line of at most 4 KiB; white space around it does not count.
    ///
    /// # Errors
    /// [`SecretError`] names the file and the remedy, never what the file holds.
    pub fn read(path: &Path) -> Result<Self, SecretError> {
        let text = read(path)?;
        Self::parse(&text).ok_or_else(|| unusable(path, "must hold one line of text"))
    }

    /// Reads a text of several lines, at most 4 KiB, such as a private key in PEM.
    ///
    /// # Errors
    /// As of [`Self::read`].
    pub fn read_text(path: &Path) -> Result<Self, SecretError> {
        let text = read(path)?;
        let is_empty = text.trim().is_empty();
        if is_empty { Err(unusable(path, "is empty")) } else { Ok(Self(text)) }
    }

    /// The text, for whoever asks for it.
    pub fn expose(&self) -> &str {
        &self.0
    }

    fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let is_line = !text.is_empty() && !text.contains(char::is_control);
        is_line.then(|| Self(text.to_owned()))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// The text of a file that is closed to others. Kubernetes opens the files of secrets to all unless
/// `defaultMode` says otherwise.
fn read(path: &Path) -> Result<String, SecretError> {
    let failed = |cause| SecretError::Read { path: path.to_owned(), cause };
    let file = File::open(path).map_err(failed)?;
    let mode = file.metadata().map_err(failed)?.permissions().mode() & 0o7777;
    if mode & OTHERS != 0 {
        return Err(SecretError::Open { path: path.to_owned(), mode });
    }
    let mut bytes = Vec::new();
    file.take(MAX_FILE as u64 + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() > MAX_FILE {
        return Err(unusable(path, "is larger than 4 KiB; it must hold one line of text"));
    }
    String::from_utf8(bytes).map_err(|_| unusable(path, "must hold one line of text in UTF-8"))
}

fn unusable(path: &Path, problem: &'static str) -> SecretError {
    SecretError::Unusable { path: path.to_owned(), problem }
}

#[cfg(test)]
mod tests;
