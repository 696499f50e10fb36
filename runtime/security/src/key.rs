//! Keys and their derivation: HKDF with SHA-256 (RFC 5869), one block each.

use std::fmt;

use ring::{digest, hmac};

use crate::rotation::Epoch;

/// Least number of bytes of a key file.
const LEAST: usize = 32;
/// Largest number of bytes of a key file.
const MOST: usize = 4096;

/// 32 secret bytes. Printed, they stay secret.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Bytes(pub(crate) [u8; 32]);

impl fmt::Debug for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

fn mac(key: &[u8], parts: &[&[u8]]) -> Bytes {
    let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, key));
    for part in parts {
        context.update(part);
    }
    let mut bytes = [0; 32];
    bytes.copy_from_slice(context.sign().as_ref());
    Bytes(bytes)
}

/// HKDF-Extract.
fn extract(salt: &[u8], secret: &[u8]) -> Bytes {
    mac(salt, &[secret])
}

impl Bytes {
    /// HKDF-Expand to 32 bytes. A purpose ends with a zero byte, so that no two purposes with what
    /// follows them are equal.
    pub(crate) fn expand(&self, purpose: &str, about: &[u8]) -> Self {
        mac(&self.0, &[purpose.as_bytes(), &[0], about, &[1]])
    }

    pub(crate) fn of_epoch(&self, purpose: &str, epoch: Epoch) -> Self {
        self.expand(purpose, &epoch.0.to_be_bytes())
    }

    fn hex(&self, digits: usize) -> String {
        hex(&self.0)[..digits.min(64)].to_owned()
    }
}

/// Lower-case hexadecimal digits.
fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .map(|digit| char::from(DIGITS[usize::from(digit)]))
        .collect()
}

/// Name for a job that is always a DNS label, independently of the form of its uid.
pub(crate) fn label(uid: &str) -> String {
    hex(digest::digest(&digest::SHA256, uid.as_bytes()).as_ref())[..32].to_owned()
}

/// Why something is not a key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// It has another length.
    #[error(
        "a master key has at least {LEAST} and at most {MOST} random bytes, not {0}; make one with: openssl rand -hex 32"
    )]
    Master(usize),
    /// It has another length.
    #[error("the key of a job's workers has 32 bytes, not {0}")]
    Worker(usize),
}

/// The operator's only secret: the keys of all jobs are derived from it.
#[derive(Debug, Clone)]
pub struct MasterKey(Bytes);

impl MasterKey {
    /// A key of these bytes, as they are in its file.
    pub fn new(bytes: &[u8]) -> Result<Self, KeyError> {
        if !(LEAST..=MOST).contains(&bytes.len()) {
            return Err(KeyError::Master(bytes.len()));
        }
        Ok(Self(extract(b"streamkeeper v1", bytes)))
    }

    /// Distinguishes master keys without revealing them.
    pub fn fingerprint(&self) -> String {
        self.0.expand("fingerprint", &[]).hex(16)
    }

    /// The key of the job with this uid.
    pub fn job(&self, uid: &str) -> JobKey {
        JobKey {
            uid: uid.to_owned(),
            key: self.0.expand("job", uid.as_bytes()),
        }
    }
}

/// The key from which all keys of one job are derived. Only the operator has it.
#[derive(Debug, Clone)]
pub struct JobKey {
    uid: String,
    key: Bytes,
}

impl JobKey {
    /// Uid of the StreamJob.
    pub fn uid(&self) -> &str {
        &self.uid
    }

    /// The workers' key.
    pub fn worker_key(&self) -> WorkerKey {
        WorkerKey(self.key.expand("workers", &[]))
    }

    /// Distinguishes the keys of jobs without revealing them. Only a holder of the key knows the
    /// tag, so no object can be created beforehand under a name that contains it.
    pub fn tag(&self) -> String {
        self.key.expand("tag", &[]).hex(16)
    }

    pub(crate) fn operator_ca(&self) -> Bytes {
        self.key.expand("operator ca", &[])
    }

    pub(crate) fn operator_leaf(&self, epoch: Epoch) -> Bytes {
        self.key.of_epoch("operator", epoch)
    }
}

/// Secret that all workers of a job share with each other and the operator only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkerKey(Bytes);

impl WorkerKey {
    /// A key of these bytes.
    pub fn new(bytes: &[u8]) -> Result<Self, KeyError> {
        bytes
            .try_into()
            .map(|bytes| Self(Bytes(bytes)))
            .map_err(|_| KeyError::Worker(bytes.len()))
    }

    pub(crate) fn bytes(&self) -> &[u8; 32] {
        &self.0.0
    }

    pub(crate) fn ca(&self, epoch: Epoch) -> Bytes {
        self.0.of_epoch("worker ca", epoch)
    }

    pub(crate) fn leaf(&self, epoch: Epoch) -> Bytes {
        self.0.of_epoch("worker", epoch)
    }

    /// The token of the Job API.
    pub fn token(&self, epoch: Epoch) -> Token {
        Token(self.0.of_epoch("token", epoch).hex(64))
    }
}

/// Proof that a caller belongs to the job, with or without a certificate. Printed, it stays secret.
#[derive(Clone)]
pub struct Token(String);

impl Token {
    /// Bytes of every [`Self::header`].
    pub const HEADER_BYTES: usize = "Bearer ".len() + 64;

    /// The value of an `Authorization` header.
    pub fn header(&self) -> String {
        format!("Bearer {}", self.0)
    }

    /// Whether this is the header that shows it; takes as long for every header of one length.
    pub fn is_shown_by(&self, header: &[u8]) -> bool {
        let key = hmac::Key::new(hmac::HMAC_SHA256, b"compare");
        let wanted = hmac::sign(&key, self.header().as_bytes());
        hmac::verify(&key, header, wanted.as_ref()).is_ok()
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(secret)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_derived_as_in_rfc_5869() {
        let secret = [0x0b; 22];
        let salt: Vec<u8> = (0..=0x0c).collect();
        let extracted = extract(&salt, &secret);
        assert_eq!(
            hex(&extracted.0),
            "077709362c2e32df0ddc3f0dc47bba6390b6c73bb50f9c3122ec844ad7c2b3e5"
        );
        // A.1 has 42 bytes of output; the first block is equal.
        let info: Vec<u8> = (0xf0..=0xf9).collect();
        assert_eq!(
            hex(&mac(&extracted.0, &[&info, &[1]]).0),
            "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf"
        );
    }

    #[test]
    fn what_is_too_short_or_too_long_is_no_master_key_and_is_not_shown() {
        assert!(MasterKey::new(&[7; 32]).is_ok());
        for bytes in [&b"hunter2"[..], &[7; 31], &[7; 4097]] {
            let error = MasterKey::new(bytes).unwrap_err();
            assert_eq!(error, KeyError::Master(bytes.len()));
            assert!(!error.to_string().contains("hunter2"), "{error}");
        }
        assert_eq!(WorkerKey::new(&[7; 33]), Err(KeyError::Worker(33)));
    }

    #[test]
    fn no_key_and_no_token_is_ever_printed() {
        let job = MasterKey::new(&[7; 32]).unwrap().job("a");
        let (worker, token) = (job.worker_key(), job.worker_key().token(Epoch(3)));
        let printed = format!("{job:?} {worker:?} {token:?}");
        for secret in [hex(&job.key.0), hex(worker.bytes()), token.0] {
            assert!(!printed.contains(&secret[..8]), "{printed}");
        }
        assert!(!printed.contains("[7"), "{printed}");
    }

    #[test]
    fn a_token_is_compared_as_a_whole() {
        let token = WorkerKey::new(&[7; 32]).unwrap().token(Epoch(3));
        let header = token.header();
        assert_eq!(header.len(), Token::HEADER_BYTES);
        assert!(token.is_shown_by(header.as_bytes()));
        for other in ["", "Bearer ", &header[..header.len() - 1], &header[7..]] {
            assert!(!token.is_shown_by(other.as_bytes()), "{other}");
        }
        let next = WorkerKey::new(&[7; 32]).unwrap().token(Epoch(4));
        assert!(!token.is_shown_by(next.header().as_bytes()));
    }
}
