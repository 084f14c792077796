//! A copy of the tracked files in which mistakes are made.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Outcome;
use crate::list::Mutant;

pub struct Tree {
    path: PathBuf,
}

/// A mistake in the copy.
pub struct Mistake {
    file: PathBuf,
    before: String,
}

impl Mistake {
    pub fn take_back(self) -> Outcome<()> {
        Ok(fs::write(self.file, self.before)?)
    }
}

impl Tree {
    /// Makes the copy, or brings it up to date. A file that is the same is left alone, so that it
    /// is not built again.
    pub fn copy(root: &Path, path: &Path) -> Outcome<Tree> {
        let listed = Command::new("git")
            .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
            .current_dir(root)
            .output()?;
        if !listed.status.success() {
            return Err("git cannot list the files of the work tree".into());
        }
        let names = String::from_utf8(listed.stdout)?;
        let mut kept = BTreeSet::new();
        for name in names.split('\0').filter(|name| !name.is_empty()) {
            let (from, to) = (root.join(name), path.join(name));
            // Listed, and deleted since.
            let Ok(content) = fs::read(&from) else { continue };
            if fs::read(&to).ok().as_ref() != Some(&content) {
                fs::create_dir_all(to.parent().ok_or("a file without a folder")?)?;
                fs::write(&to, content)?;
            }
            kept.insert(to);
        }
        forget_others(path, &kept)?;
        Ok(Tree { path: path.to_owned() })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The file with the mistake in it.
    ///
    /// # Errors
    /// If the text to be replaced is not there exactly once.
    pub fn mutated(&self, mutant: &Mutant) -> Outcome<String> {
        let before = fs::read_to_string(self.path.join(&mutant.file))?;
        match before.matches(&mutant.from).count() {
            1 => Ok(before.replacen(&mutant.from, &mutant.to, 1)),
            count => {
                let Mutant { name, file, .. } = mutant;
                Err(format!("{name}: {file} has the text {count} times, not once").into())
            }
        }
    }

    /// Makes the mistake.
    pub fn make(&self, mutant: &Mutant) -> Outcome<Mistake> {
        let after = self.mutated(mutant)?;
        let file = self.path.join(&mutant.file);
        let before = fs::read_to_string(&file)?;
        fs::write(&file, after)?;
        Ok(Mistake { file, before })
    }
}

/// Removes what is tracked no more: a module that is gone would else still be tested.
fn forget_others(folder: &Path, kept: &BTreeSet<PathBuf>) -> Outcome<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let path = entry.path();
        if entry.file_type()?.is_dir() {
            forget_others(&path, kept)?;
        } else if !kept.contains(&path) {
            fs::remove_file(&path)?;
        }
    }
    Ok(())
}
