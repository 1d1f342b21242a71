//! The rules that look at more than one value. Each rule is a function over the tables as they
//! were written, reports all that breaks it, and stays silent where a value that it needs was
//! reported already.

mod addresses;
mod names;
mod reach;

use std::{collections::HashMap, hash::Hash};

use super::{
    diagnostic::{Code, Finding},
    raw::{Agent, Balancing, Pool, Service},
    source::{At, Place},
};

/// Every rule.
pub(super) fn check(agent: Option<&Agent>, balancing: &Balancing, findings: &mut Vec<Finding>) {
    let uses = uses(balancing);
    names::check(agent, balancing, findings);
    addresses::check(&uses, balancing, findings);
    reach::check(&uses, findings);
}

/// A pool and the services that name it: of two pools with one name, those of the first.
struct Use<'a> {
    pool: &'a Pool,
    services: Vec<&'a Service>,
}

fn uses(balancing: &Balancing) -> Vec<Use<'_>> {
    let mut uses: Vec<Use<'_>> = balancing
        .pools
        .iter()
        .map(|pool| Use {
            pool,
            services: Vec::new(),
        })
        .collect();
    for service in &balancing.services {
        if let Some(used) = uses.iter_mut().find(|used| names_pool(service, used.pool)) {
            used.services.push(service);
        }
    }
    uses
}

fn names_pool(service: &Service, pool: &Pool) -> bool {
    match (&service.pool, &pool.name) {
        (Some(wanted), Some(name)) => wanted.value == name.value,
        _ => false,
    }
}

impl Pool {
    /// Where to point at when the pool as a whole is meant.
    fn named_at(&self) -> Place {
        self.name.as_ref().map_or(self.place, |name| name.place)
    }

    /// Its name for messages.
    fn title(&self) -> String {
        match &self.name {
            Some(name) => format!("pool `{}`", name.value.0),
            None => "this pool".to_owned(),
        }
    }
}

/// A value that was used before, and where first.
fn taken(code: Code, again: Place, first: Place, message: String, expected: &str) -> Finding {
    Finding::error(code, again, message)
        .expected(expected)
        .related(first, "first used here")
}

/// Every value that came before, and the place where it came first.
fn repeated<'a, T: Eq + Hash + 'a>(
    items: impl Iterator<Item = &'a At<T>>,
) -> impl Iterator<Item = (&'a At<T>, Place)> {
    let mut first = HashMap::new();
    items.filter_map(move |item| {
        let place = *first.entry(&item.value).or_insert(item.place);
        (place != item.place).then_some((item, place))
    })
}
