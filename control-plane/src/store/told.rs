//! What the audit log is told of one transaction: each change, or many of one caller together.

use std::collections::HashMap;

use serde_json::json;

use crate::{
    audit::{
        Class, Draft,
        detail::{self, Before},
    },
    auth::Author,
    change::{Asked, Recorded, Request},
};

/// Changes of one caller and kind in one transaction that are told one by one; of more, there is one entry.
/// So many come at once only if somebody sends hundreds a second, and each is found in the log.
const ONE_BY_ONE: usize = 8;

/// Changes of a transaction.
#[derive(Debug, Default)]
pub(super) struct Told {
    /// In order, with what kind of many it is of.
    drafts: Vec<(Draft, Option<Many>)>,
    counts: HashMap<Many, usize>,
}

/// Changes that can be told together: by one key, from one address, of one kind.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Many {
    key_id: String,
    name: String,
    address: String,
    kind: &'static str,
}

impl Told {
    /// A change was made.
    pub(super) fn add(&mut self, request: &Request, change: &Recorded, before: &Before) {
        let kind = request.asked.kind();
        let done = Draft::done(Class::Operation, kind, request.by.clone());
        let detail = detail::of(&request.asked, change, before);
        let target = match &request.asked {
            Asked::Key(key) => key.id().to_string(),
            _ => change.id.clone(),
        };
        let can_be_many = !matches!(request.asked, Asked::Key(_) | Asked::Origins(_));
        let many = can_be_many.then(|| {
            let Author { key_id, name, address, .. } = request.by.clone();
            Many { key_id, name, address, kind }
        });
        if let Some(many) = &many {
            *self.counts.entry(many.clone()).or_default() += 1;
        }
        self.drafts.push((Draft { target, detail, ..done }, many));
    }

    /// What is written down.
    pub(super) fn drafts(&mut self) -> Vec<Draft> {
        let mut told = Vec::new();
        let mut together: HashMap<Many, usize> = HashMap::new();
        for (draft, many) in std::mem::take(&mut self.drafts) {
            match many.filter(|many| self.counts.get(many).is_some_and(|it| *it > ONE_BY_ONE)) {
                None => told.push(draft),
                Some(many) => match together.get(&many).and_then(|at| told.get_mut(*at)) {
                    Some(all) => join(all, draft),
                    None => {
                        together.insert(many, told.len());
                        told.push(first(draft));
                    }
                },
            }
        }
        told
    }
}

/// The first of many: what is told of each is in the log.
fn first(draft: Draft) -> Draft {
    let ids = draft.detail["ids"].as_u64().unwrap_or(0);
    let detail = json!({"ids": ids, "first": draft.target, "last": draft.target});
    Draft { detail, author: Author { request_id: String::new(), ..draft.author }, ..draft }
}

fn join(all: &mut Draft, next: Draft) {
    all.count += next.count;
    let ids = |draft: &Draft| draft.detail["ids"].as_u64().unwrap_or(0);
    all.detail["ids"] = json!(ids(all) + ids(&next));
    all.detail["last"] = json!(next.target);
}

#[cfg(test)]
mod tests {
    use wcdn_proto::{BlobId, Position, Purge};

    use super::*;

    fn told(names: &[(&str, usize)]) -> Vec<Draft> {
        let mut told = Told::default();
        for (name, count) in names {
            for n in 0..*count {
                let asked = Asked::Purge(Purge::Ids(vec![BlobId::from_bytes([1; 32]); 2]));
                let request = Request { asked, by: Author::program(name), token: None };
                let at = Position { epoch: 1, seq: 1 };
                let change = Recorded {
                    id: format!("{name}-{n}"),
                    kind: "purge".to_owned(),
                    first: at,
                    last: at,
                    committed_at_ms: 0,
                    ids: 2,
                    by: (*name).to_owned(),
                };
                told.add(&request, &change, &Before::default());
            }
        }
        told.drafts()
    }

    #[test]
    fn some_changes_are_told_one_by_one_and_many_together() {
        assert_eq!(told(&[("a", ONE_BY_ONE), ("b", 1)]).len(), ONE_BY_ONE + 1);
        let drafts = told(&[("a", 100), ("b", 1), ("c", 9)]);
        let counts: Vec<_> = drafts.iter().map(|it| (it.author.name.as_str(), it.count)).collect();
        assert_eq!(counts, [("a", 100), ("b", 1), ("c", 9)]);
        assert_eq!(drafts[0].detail, json!({"ids": 200, "first": "a-0", "last": "a-99"}));
        assert_eq!(drafts[1].detail["some"].as_array().unwrap().len(), 2);
    }
}
