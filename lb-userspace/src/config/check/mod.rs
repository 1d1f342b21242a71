//! The rules that look at more than one value. Each rule is a function over the tables as they
//! were written, reports all that breaks it, and stays silent where a value that it needs was
//! reported already.

mod addresses;
mod admission;
mod health;
mod keys;
mod names;
mod reach;
mod server_ids;
mod through;
mod tracked;
mod tracking;
mod vrrp;

use std::{collections::HashMap, hash::Hash, ptr};

pub(super) use self::{health::ports, through::services as through, tracking::check as tracking};
use super::{
    diagnostic::{Code, Finding},
    raw::{Access, Agent, Balancing, Pool, Service, vrrp::Vrrp},
    source::{At, Place},
    value::Name,
};

/// Every rule.
pub(super) fn check(
    agent: Option<&Agent>,
    access: Option<&Access>,
    vrrp: &[Vrrp],
    balancing: &Balancing,
    findings: &mut Vec<Finding>,
) {
    let uses = uses(balancing);
    names::check(agent, vrrp, balancing, findings);
    addresses::check(&uses, balancing, findings);
    reach::check(&uses, findings);
    keys::check(balancing, findings);
    server_ids::check(&uses, balancing, findings);
    admission::check(access, balancing, findings);
    health::check(&uses, findings);
    through::check(agent, balancing, findings);
    vrrp::check(agent, vrrp, balancing, findings);
}

/// A pool and the services that name it, as their fallback too: of two pools with one name, those
/// of the first.
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
        for wanted in named(service) {
            let mut uses = uses.iter_mut();
            let Some(used) = uses.find(|used| is_named(used.pool, wanted)) else {
                continue;
            };
            if !used.services.iter().any(|known| ptr::eq(*known, service)) {
                used.services.push(service);
            }
        }
    }
    uses
}

/// The pools that a service names.
fn named(service: &Service) -> impl Iterator<Item = &Name> {
    let names = [&service.pool, &service.fallback].into_iter().flatten();
    names.map(|name| &name.value)
}

fn is_named(pool: &Pool, wanted: &Name) -> bool {
    pool.name.as_ref().is_some_and(|name| name.value == *wanted)
}

impl Service {
    /// Where to point at when the service as a whole is meant.
    fn named_at(&self) -> Place {
        self.name.as_ref().map_or(self.place, |name| name.place)
    }

    /// Its name for messages.
    fn title(&self) -> String {
        match &self.name {
            Some(name) => format!("service `{}`", name.value.0),
            None => "this service".to_owned(),
        }
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
