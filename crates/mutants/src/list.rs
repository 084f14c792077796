//! The mistakes.

use serde::Deserialize;

use crate::Outcome;
use crate::suite::Target;

/// A mistake and what has to notice it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mutant {
    /// What it is called on the command line.
    pub name: String,
    /// What would go wrong with it.
    pub wrong: String,
    /// The file, from the root of the workspace.
    pub file: String,
    /// Text that the file has exactly once.
    pub from: String,
    /// What takes its place.
    pub to: String,
    /// Filters of unit tests that have to fail.
    #[serde(default)]
    unit: Vec<String>,
    /// Filters of integration tests that have to fail.
    #[serde(default)]
    it: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct List {
    mutant: Vec<Mutant>,
}

impl Mutant {
    /// The tests of that binary that have to fail.
    pub fn filters(&self, target: Target) -> impl Iterator<Item = &str> {
        let filters = match target {
            Target::Unit => &self.unit,
            Target::Integration => &self.it,
        };
        filters.iter().map(String::as_str)
    }
}

/// All of them.
pub fn all() -> Outcome<Vec<Mutant>> {
    let list: List = toml::from_str(include_str!("../mutants.toml"))?;
    for mutant in &list.mutant {
        if mutant.unit.is_empty() && mutant.it.is_empty() {
            return Err(format!("{} names no test", mutant.name).into());
        }
    }
    Ok(list.mutant)
}

/// Those that are asked for.
pub fn select(all: Vec<Mutant>, names: &[String], quick: bool) -> Outcome<Vec<Mutant>> {
    if let Some(unknown) = names.iter().find(|name| !all.iter().any(|m| m.name == **name)) {
        return Err(format!("there is no mutant {unknown}; `--list` says which there are").into());
    }
    let is_asked_for = |mutant: &Mutant| {
        (names.is_empty() || names.contains(&mutant.name)) && (!quick || mutant.it.is_empty())
    };
    Ok(all.into_iter().filter(is_asked_for).collect())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    /// One that matches nothing would be noticed only by whoever runs it, which is seldom.
    #[test]
    fn each_is_about_what_the_code_says() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        for mutant in super::all().unwrap() {
            let text = std::fs::read_to_string(root.join(&mutant.file)).unwrap();
            assert_eq!(text.matches(&mutant.from).count(), 1, "{} in {}", mutant.name, mutant.file);
        }
    }
}
