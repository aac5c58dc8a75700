//! Every feature of every crate that people use: alone, all together, and none; and what a feature must not bring along.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::context::Context;
use crate::process;
use crate::tally::Tally;

/// Lints each combination; a warning is an error, so code that a missing feature leaves unused is found too. And looks
/// whether what does without a runtime has none among its dependencies.
pub(crate) fn run(context: &Context) -> Result<Tally> {
    let mut sum = Tally::default();
    for package in packages(&context.metadata)? {
        for flags in package.combinations() {
            let mut command = context.cargo();
            command
                .args(["clippy", "--quiet", "--package", &package.name])
                .args(&flags);
            command.args(["--", "-D", "warnings"]);
            let passed = process::run(command)?;
            if !passed {
                println!("FAILED: {} with {flags:?}", package.name);
            }
            sum += Tally::one(passed);
        }
        if let Some(features) = package.without_runtime() {
            sum += Tally::one(has_no_runtime(context, &package.name, &features)?);
        }
    }
    Ok(sum)
}

/// Whether tokio is nowhere among what the package needs with these features, on any platform.
fn has_no_runtime(context: &Context, package: &str, features: &str) -> Result<bool> {
    let mut command = context.cargo();
    command.args(["tree", "--package", package, "--edges", "normal", "--target", "all"]);
    command.args([
        "--prefix",
        "none",
        "--format",
        "{p}",
        "--no-default-features",
        "--features",
        features,
    ]);
    let tree = process::stdout_of(command)?;
    let passed = !tree.lines().any(|line| line.split_whitespace().next() == Some(RUNTIME));
    if !passed {
        println!("FAILED: {package} with {features} depends on {RUNTIME}");
    }
    Ok(passed)
}

#[derive(Debug, PartialEq, Eq)]
struct Package {
    name: String,
    /// Each feature, and what it turns on.
    features: BTreeMap<String, Vec<String>>,
}

/// The default members of the workspace: what is published, and the program.
fn packages(metadata: &Value) -> Result<Vec<Package>> {
    let all = metadata["packages"]
        .as_array()
        .context("cargo metadata lists no packages")?;
    let members = metadata["workspace_default_members"]
        .as_array()
        .context("cargo metadata lists no members")?;
    let mut packages = Vec::new();
    for package in all.iter().filter(|package| members.contains(&package["id"])) {
        let name = package["name"].as_str().context("a package without a name")?.to_owned();
        let features = serde_json::from_value(package["features"].clone()).context("a package without features")?;
        packages.push(Package { name, features });
    }
    Ok(packages)
}

impl Package {
    /// The flags for: no feature, the default ones, each alone, all. What needs a runtime to be of use, and can do without
    /// it, is tried in both ways.
    fn combinations(&self) -> Vec<Vec<String>> {
        let only = |features: String| vec!["--no-default-features".into(), "--features".into(), features];
        let mut flags = vec![vec!["--no-default-features".into()]];
        if self.features.is_empty() {
            // With no feature to choose, all combinations are one.
            return flags;
        }
        if self.features.contains_key("default") {
            flags.push(vec![]);
        }
        for feature in self.choices() {
            flags.push(only(feature.to_owned()));
        }
        if let Some(features) = self.without_runtime() {
            let beside = features.split(',').map(|feature| format!("{RUNTIME},{feature}"));
            flags.extend(beside.map(only));
            flags.push(only(features));
        }
        flags.push(vec!["--all-features".into()]);
        flags
    }

    /// The features that people choose from.
    fn choices(&self) -> impl Iterator<Item = &str> {
        let names = self.features.keys().map(String::as_str);
        names.filter(|name| *name != "default" && !name.starts_with('_'))
    }

    /// All that go without the runtime, joined by commas; `None` where there is no such choice.
    fn without_runtime(&self) -> Option<String> {
        self.features.get(RUNTIME)?;
        let without: Vec<_> = self.choices().filter(|name| !self.reaches_runtime(name)).collect();
        Some(without.join(","))
    }

    /// Whether a feature turns on the one that is named after the runtime.
    fn reaches_runtime(&self, feature: &str) -> bool {
        let (mut seen, mut next) = (BTreeSet::new(), vec![feature]);
        while let Some(feature) = next.pop() {
            if feature == RUNTIME {
                return true;
            }
            if seen.insert(feature) {
                next.extend(self.features.get(feature).into_iter().flatten().map(String::as_str));
            }
        }
        false
    }
}

/// What the blocking API does without: a crate, and the feature that brings it.
const RUNTIME: &str = "tokio";

#[cfg(test)]
mod tests {
    use super::*;

    fn package(features: &[(&str, &[&str])]) -> Package {
        let features = features
            .iter()
            .map(|(name, on)| ((*name).into(), on.iter().map(|on| (*on).into()).collect()));
        Package {
            name: "a".into(),
            features: features.collect(),
        }
    }

    #[test]
    fn each_feature_alone_all_and_none() {
        let package_of_three = package(&[("default", &["std"]), ("deflate", &[]), ("std", &[])]);
        let flags: Vec<String> = package_of_three
            .combinations()
            .iter()
            .map(|flags| flags.join(" "))
            .collect();
        assert_eq!(
            flags,
            [
                "--no-default-features",
                "",
                "--no-default-features --features deflate",
                "--no-default-features --features std",
                "--all-features",
            ]
        );
        assert_eq!(package(&[]).combinations().len(), 1);
    }

    #[test]
    fn what_goes_without_a_runtime_is_tried_with_and_without() {
        let package = package(&[
            ("_shared", &[]),
            ("axum", &["hyper"]),
            ("blocking", &[]),
            ("hyper", &["tokio", "dep:hyper"]),
            ("json", &["dep:serde"]),
            ("tokio", &["dep:tokio"]),
        ]);
        assert_eq!(package.without_runtime().as_deref(), Some("blocking,json"));
        let flags: Vec<String> = package.combinations().iter().map(|flags| flags.join(" ")).collect();
        assert_eq!(
            flags[6..],
            [
                "--no-default-features --features tokio,blocking",
                "--no-default-features --features tokio,json",
                "--no-default-features --features blocking,json",
                "--all-features",
            ]
        );
    }

    #[test]
    fn default_members_are_read_from_the_metadata() {
        let metadata = serde_json::json!({
            "packages": [
                {"id": "path+file:///a#0.1.0", "name": "a", "features": {"default": ["x"], "x": []}},
                {"id": "path+file:///b#0.1.0", "name": "b", "features": {}},
            ],
            "workspace_default_members": ["path+file:///a#0.1.0"],
        });
        let expected = package(&[("default", &["x"]), ("x", &[])]);
        assert_eq!(packages(&metadata).expect("complete metadata"), [expected]);
    }
}
