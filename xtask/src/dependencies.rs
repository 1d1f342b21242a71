//! A step of CI: every crate that we depend on has a licence that we may ship under, and none is
//! there in two versions unless the root `Cargo.toml` says why.
//!
//! (cargo-deny does more, but not without its advisory database and minutes of building.)

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use crate::{process, workspace::Workspace};

/// Licences that ask for no more than their text beside the binary.
const ALLOWED: [&str; 9] = [
    "Apache-2.0",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "ISC",
    "MIT",
    "NCSA",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

/// The part of `cargo metadata` that is read here.
#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    metadata: Own,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    version: String,
    license: Option<String>,
}

/// `[workspace.metadata]`.
#[derive(Deserialize)]
struct Own {
    #[serde(default)]
    duplicates: BTreeMap<String, String>,
}

/// Checks them all.
pub(crate) fn check(workspace: &Workspace) -> Result<()> {
    let mut cargo = workspace.cargo();
    let printed = process::output(cargo.args(["metadata", "--format-version", "1", "--locked"]))?;
    let metadata: Metadata =
        serde_json::from_slice(&printed.stdout).context("reading what `cargo metadata` printed")?;
    let mut problems = licences(&metadata.packages);
    problems.extend(duplicates(
        &metadata.packages,
        &metadata.metadata.duplicates,
    ));
    if !problems.is_empty() {
        bail!("{}", problems.join("\n"));
    }
    println!(
        "{} crates: licences and versions are in order",
        metadata.packages.len()
    );
    Ok(())
}

fn licences(packages: &[Package]) -> Vec<String> {
    let bad = packages.iter().filter(|package| {
        let license = package.license.as_deref();
        !license.is_some_and(may_ship)
    });
    let line = |package: &Package| {
        let license = package.license.as_deref().unwrap_or("no licence");
        format!(
            "{} {}: {license} is not among the allowed licences",
            package.name, package.version
        )
    };
    bad.map(line).collect()
}

/// Whether an SPDX expression can be met by what is allowed. `AND` binds tighter than `OR`;
/// parentheses occur around a whole operand of `AND` only.
fn may_ship(expression: &str) -> bool {
    let plain = expression.replace(['(', ')'], " ").replace('/', " OR ");
    let allowed = |name: &str| ALLOWED.contains(&name.split_whitespace().next().unwrap_or(""));
    if expression.contains('(') {
        return plain
            .split(" AND ")
            .all(|part| part.split(" OR ").any(allowed));
    }
    plain
        .split(" OR ")
        .any(|part| part.split(" AND ").all(allowed))
}

fn duplicates(packages: &[Package], known: &BTreeMap<String, String>) -> Vec<String> {
    let mut versions: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for package in packages {
        versions
            .entry(&package.name)
            .or_default()
            .insert(&package.version);
    }
    versions.retain(|_, versions| versions.len() > 1);
    let new = versions
        .iter()
        .filter(|(name, _)| !known.contains_key(**name));
    let mut problems: Vec<String> = new
        .map(|(name, versions)| {
            let versions: Vec<_> = versions.iter().copied().collect();
            format!(
                "{name} is there as {}: take one version, or name it with the reason in the root \
                 Cargo.toml under [workspace.metadata.duplicates]",
                versions.join(" and ")
            )
        })
        .collect();
    let stale = known
        .keys()
        .filter(|name| !versions.contains_key(name.as_str()));
    problems.extend(stale.map(|name| {
        format!("{name} has one version now: remove it from [workspace.metadata.duplicates]")
    }));
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_are_read_as_spdx_has_them() {
        for good in [
            "MIT",
            "NCSA",
            "MIT/Apache-2.0",
            "GPL-3.0 OR MIT",
            "Apache-2.0 WITH LLVM-exception OR MIT",
            "(MIT OR Apache-2.0) AND Unicode-3.0",
        ] {
            assert!(may_ship(good), "{good}");
        }
        for bad in [
            "GPL-3.0",
            "MIT AND GPL-3.0",
            "(MIT OR GPL-3.0) AND AGPL-3.0",
            "",
        ] {
            assert!(!may_ship(bad), "{bad}");
        }
    }

    #[test]
    fn a_second_version_needs_a_reason_and_a_reason_a_second_version() {
        let package = |version: &str| Package {
            name: "a".into(),
            version: version.into(),
            license: None,
        };
        let two = [package("1"), package("2")];
        let known = BTreeMap::from([("a".to_owned(), "why".to_owned())]);
        assert_eq!(duplicates(&two, &BTreeMap::new()).len(), 1);
        assert!(duplicates(&two, &known).is_empty());
        assert_eq!(duplicates(&two[..1], &known).len(), 1);
    }
}
