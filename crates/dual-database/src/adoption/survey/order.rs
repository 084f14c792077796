//! In which order tables are joined, and then exchanged: PostgreSQL takes no row before the one that it refers to.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::schema::Relation;

/// The same names, whoever is referred to before who refers to it; else, and in a ring, as they were.
pub(super) fn referred_first<'r>(
    names: Vec<Arc<str>>,
    relations: impl Iterator<Item = &'r Relation>,
) -> Vec<Arc<str>> {
    let mut references: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for relation in relations {
        let all = references.entry(relation.name.to_ascii_lowercase()).or_default();
        all.extend(relation.references.iter().map(|name| name.to_ascii_lowercase()));
    }
    let mut left = names;
    let mut waiting: BTreeSet<String> = left.iter().map(|name| name.to_ascii_lowercase()).collect();
    let mut ordered = Vec::with_capacity(left.len());
    while !left.is_empty() {
        let is_free = |name: &Arc<str>| {
            let own = name.to_ascii_lowercase();
            let all = references.get(&own).into_iter().flatten();
            !all.into_iter().any(|other| *other != own && waiting.contains(other))
        };
        let next = left.remove(left.iter().position(is_free).unwrap_or(0));
        waiting.remove(&next.to_ascii_lowercase());
        ordered.push(next);
    }
    ordered
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::RelationSort;

    fn relation(name: &str, references: &[&str]) -> Relation {
        let references = references.iter().map(|name| Arc::from(*name)).collect();
        let (columns, keys) = (Vec::new(), Vec::new());
        Relation { name: name.into(), sort: RelationSort::Table, columns, keys, references }
    }

    fn ordered(relations: &[Relation]) -> Vec<Arc<str>> {
        let names = relations.iter().map(|relation| Arc::clone(&relation.name)).collect();
        referred_first(names, relations.iter())
    }

    #[test]
    fn whoever_is_referred_to_comes_first() {
        let tables = [
            relation("a", &["c", "elsewhere"]),
            relation("b", &[]),
            relation("c", &["D"]),
            relation("d", &["d"]),
        ];
        assert_eq!(ordered(&tables).concat(), "bdca");
    }

    #[test]
    fn a_ring_is_begun_somewhere() {
        let tables = [relation("a", &["b"]), relation("b", &["a"]), relation("c", &["b"])];
        assert_eq!(ordered(&tables).concat(), "abc");
        assert_eq!(ordered(&[relation("b", &[]), relation("a", &[])]).concat(), "ba");
    }
}
