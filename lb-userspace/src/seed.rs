//! The flow hash's seed: from the configuration, or made at random once and kept in the state
//! folder. A secret: the file is readable by its owner alone, and only a fingerprint is shown.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use siphasher::sip::SipHasher13;

use crate::{model::Seed, replace::replace};

/// Why there is no seed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file, or its folder, can't be read or written.
    #[error("{action} {path}: {error}")]
    File {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// What went wrong.
        error: io::Error,
    },
    /// The file holds something else.
    #[error("{path} does not hold a seed (32 hexadecimal digits); remove it for a new one")]
    Content {
        /// The file.
        path: PathBuf,
    },
    /// The kernel gives no random numbers.
    #[error("no random numbers for a seed: {0}")]
    Random(getrandom::Error),
}

/// The seed kept in `state`, made now if there is none.
pub fn load_or_make(state: &Path) -> Result<Seed, Error> {
    let path = state.join("seed");
    let failed = |action: &'static str, error| Error::File {
        action,
        path: path.clone(),
        error,
    };
    match fs::read_to_string(&path) {
        Ok(text) => text
            .trim()
            .parse()
            .map_err(|_| Error::Content { path: path.clone() }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            fs::create_dir_all(state).map_err(|error| failed("creating the folder of", error))?;
            let mut key = [0; 16];
            getrandom::fill(&mut key).map_err(Error::Random)?;
            let digits: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
            replace(&path, &(digits + "\n")).map_err(|error| failed("writing", error))?;
            Ok(Seed(key))
        }
        Err(error) => Err(failed("reading", error)),
    }
}

/// What may be shown of a seed: equal for equal seeds, and of no use to find one.
pub fn fingerprint(seed: &Seed) -> String {
    let hash = SipHasher13::new_with_key(&seed.0).hash(b"sluice seed fingerprint");
    format!("{:08x}", hash >> 32)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_seed_is_made_once_and_kept_to_its_owner() {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path().join("state");
        let first = load_or_make(&state).unwrap();
        assert_eq!(first, load_or_make(&state).unwrap());
        let mode = fs::metadata(state.join("seed"))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_damaged_seed_is_not_replaced_silently() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("seed"), "secret").unwrap();
        let error = load_or_make(folder.path()).unwrap_err().to_string();
        assert!(error.contains("does not hold a seed"), "{error}");
        assert!(!error.contains("secret"));
    }

    #[test]
    fn fingerprints_tell_seeds_apart() {
        assert_ne!(fingerprint(&Seed([1; 16])), fingerprint(&Seed([2; 16])));
    }
}
