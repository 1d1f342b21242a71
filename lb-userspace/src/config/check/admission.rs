//! Access lists that contradict themselves, and limits that limit nothing.

use std::collections::HashMap;

use super::keys::idle;
use crate::config::{
    diagnostic::{Code, Finding},
    raw::{Access, Balancing, NewFlows},
};

pub(super) fn check(access: Option<&Access>, balancing: &Balancing, findings: &mut Vec<Finding>) {
    let services = balancing.services.iter();
    let of_services = services
        .clone()
        .filter_map(|service| service.access.as_ref());
    access
        .into_iter()
        .chain(of_services)
        .for_each(|access| contradictions(access, findings));
    services
        .filter_map(|service| service.new_flows.as_ref())
        .for_each(|new_flows| limits(new_flows, findings));
}

/// No prefix is both allowed and denied.
fn contradictions(access: &Access, findings: &mut Vec<Finding>) {
    let allowed = access.allow.items.iter();
    let allowed: HashMap<_, _> = allowed.map(|at| (at.value.0, at.place)).collect();
    for denied in &access.deny.items {
        let (ip, length) = denied.value.0;
        if let Some(place) = allowed.get(&denied.value.0) {
            let message = format!("{ip}/{length} is allowed and denied");
            let finding = Finding::error(Code::KeyConflict, denied.place, message);
            let finding = finding.expected("each prefix in one of the two");
            findings.push(finding.related(*place, "where it is allowed"));
        }
    }
}

/// A limit names a rate; a burst and prefixes are those of `per_source`.
fn limits(new_flows: &NewFlows, findings: &mut Vec<Finding>) {
    if new_flows.per_source.is_some() {
        return;
    }
    if new_flows.total.is_none() {
        let message = "`new_flows` without a rate limits nothing".to_owned();
        let finding = Finding::error(Code::MissingKey, new_flows.place, message);
        findings.push(finding.expected("`per_source`, `total`, or both"));
    }
    let burst = new_flows.burst.as_ref();
    findings.extend(burst.map(|at| idle("burst", at.place, "there is no `per_source`")));
}
