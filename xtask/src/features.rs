//! Every feature of every crate that people use: alone, all together, and none.

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::context::Context;
use crate::process;
use crate::tally::Tally;

/// Lints each combination; a warning is an error, so code that a missing feature leaves unused is found too.
pub(crate) fn run(context: &Context) -> Result<Tally> {
    let mut sum = Tally::default();
    for package in packages(&context.metadata)? {
        for flags in combinations(&package.features) {
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
    }
    Ok(sum)
}

#[derive(Debug, PartialEq, Eq)]
struct Package {
    name: String,
    features: Vec<String>,
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
        let features = package["features"].as_object().context("a package without features")?;
        packages.push(Package {
            name,
            features: features.keys().cloned().collect(),
        });
    }
    Ok(packages)
}

/// The flags for: no feature, the default ones, each alone, all.
fn combinations(features: &[String]) -> Vec<Vec<&str>> {
    let mut flags = vec![vec!["--no-default-features"]];
    if features.is_empty() {
        // With no feature to choose, all combinations are one.
        return flags;
    }
    if features.iter().any(|feature| feature == "default") {
        flags.push(vec![]);
    }
    for feature in features.iter().filter(|feature| *feature != "default") {
        flags.push(vec!["--no-default-features", "--features", feature]);
    }
    flags.push(vec!["--all-features"]);
    flags
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_feature_alone_all_and_none() {
        let features = ["default", "deflate", "std"].map(String::from);
        let flags: Vec<String> = combinations(&features).iter().map(|flags| flags.join(" ")).collect();
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
        assert_eq!(combinations(&[]).len(), 1);
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
        let expected = Package {
            name: "a".into(),
            features: vec!["default".into(), "x".into()],
        };
        assert_eq!(packages(&metadata).expect("complete metadata"), [expected]);
    }
}
