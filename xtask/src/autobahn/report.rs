//! Reads the suite's report, strictly.
//!
//! The suite grades leniently: a peer that answers late is NON-STRICT, one that did not negotiate compression is
//! UNIMPLEMENTED, and a peer that died leaves a short report and an exit status of 0. Here a case passes when its
//! behaviour and its close are both OK or INFORMATIONAL, and a case that is not in the report has failed.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::tally::Tally;

/// A role's result, case by case.
#[derive(Debug)]
pub(super) struct Summary {
    passed: usize,
    /// The id of each failed case, and what was wrong with it.
    failures: Vec<(String, String)>,
    /// How often the suite gave each grade.
    grades: BTreeMap<String, usize>,
    elapsed: Duration,
}

impl Summary {
    /// Reads `index.json` in `directory`; `cases` are the ids that must be there.
    pub(super) fn read(directory: &Path, agent: &str, cases: &[String], elapsed: Duration) -> Result<Self> {
        let path = directory.join("index.json");
        let text = fs::read_to_string(&path)
            .with_context(|| format!("no report: {}; see the logs beside it", path.display()))?;
        let index: Value = serde_json::from_str(&text).with_context(|| format!("{} is not JSON", path.display()))?;
        Ok(Self::of(&index[agent], cases, elapsed))
    }

    fn of(report: &Value, cases: &[String], elapsed: Duration) -> Self {
        let mut summary = Self {
            passed: 0,
            failures: Vec::new(),
            grades: BTreeMap::new(),
            elapsed,
        };
        for id in cases {
            let case = &report[id];
            let grade = |name: &str| case[name].as_str().unwrap_or("MISSING");
            let (behaviour, close) = (grade("behavior"), grade("behaviorClose"));
            *summary.grades.entry(behaviour.to_owned()).or_default() += 1;
            if is_pass(behaviour) && is_pass(close) {
                summary.passed += 1;
            } else {
                let code = &case["remoteCloseCode"];
                let what = format!("behaviour {behaviour}, close {close}, close code received {code}");
                summary.failures.push((id.clone(), what));
            }
        }
        summary
    }

    /// A failure that is in no case.
    pub(super) fn add_failure(&mut self, who: &str, what: &str) {
        self.failures.push((who.to_owned(), what.to_owned()));
    }

    /// Prints the counts and each case that failed.
    pub(super) fn print(&self, role: &str) {
        let grades: Vec<String> = self
            .grades
            .iter()
            .map(|(grade, count)| format!("{count} {grade}"))
            .collect();
        println!(
            "{role}: {} in {:.1} s ({})",
            self.tally(),
            self.elapsed.as_secs_f64(),
            grades.join(", ")
        );
        for (id, what) in &self.failures {
            println!("FAILED: {role} {id}: {what}");
        }
    }

    pub(super) fn tally(&self) -> Tally {
        Tally {
            passed: self.passed,
            failed: self.failures.len(),
            skipped: Vec::new(),
        }
    }
}

fn is_pass(grade: &str) -> bool {
    matches!(grade, "OK" | "INFORMATIONAL")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn summary(report: &Value, cases: &[&str]) -> Summary {
        let cases: Vec<String> = cases.iter().map(ToString::to_string).collect();
        Summary::of(report, &cases, Duration::ZERO)
    }

    #[test]
    fn both_grades_must_pass() {
        let report = json!({
            "1.1.1": { "behavior": "OK", "behaviorClose": "OK" },
            "7.1.6": { "behavior": "INFORMATIONAL", "behaviorClose": "INFORMATIONAL" },
            "6.4.1": { "behavior": "NON-STRICT", "behaviorClose": "OK" },
            "7.3.6": { "behavior": "OK", "behaviorClose": "FAILED BY CLIENT", "remoteCloseCode": 1000 },
            "12.1.1": { "behavior": "UNIMPLEMENTED", "behaviorClose": "OK" },
        });
        let summary = summary(&report, &["1.1.1", "7.1.6", "6.4.1", "7.3.6", "12.1.1"]);
        assert_eq!(summary.tally().to_string(), "2 passed, 3 failed");
        assert!(
            summary
                .failures
                .iter()
                .any(|(id, what)| id == "7.3.6" && what.ends_with("1000"))
        );
    }

    #[test]
    fn a_missing_case_fails() {
        let report = json!({ "1.1.1": { "behavior": "OK", "behaviorClose": "OK" } });
        assert_eq!(
            summary(&report, &["1.1.1", "1.1.2"]).tally().to_string(),
            "1 passed, 1 failed"
        );
        assert_eq!(
            summary(&Value::Null, &["1.1.1"]).tally().to_string(),
            "0 passed, 1 failed"
        );
    }
}
