//! What changes, step by step, and comes to its end.

use super::site::Site;

/// A story.
pub struct Story {
    /// What happens.
    pub title: &'static str,
    /// One after the other.
    pub steps: Vec<Step>,
}

/// Something that has a plan of its own.
#[derive(Clone, Copy, Debug)]
pub enum Step {
    /// The configuration, or where next hops are, becomes another.
    Change(&'static str, fn(&mut Site)),
    /// So much time passes that slots which move are mixed.
    Advance,
    /// Exceptions are swept, and slots settled.
    Sweep,
}

/// Each begins with the same site, all settled.
pub fn stories() -> Vec<Story> {
    let add = Step::Change("f is added", |site| put(site, "f", 14, 100));
    let remove = Step::Change("a is removed", |site| remove(site, "a"));
    let replace = Step::Change("b has another address", |site| put(site, "b", 15, 100));
    let story = |title, changes: &[Step]| {
        let mut steps = changes.to_vec();
        steps.extend([Step::Advance, Step::Sweep]);
        Story { title, steps }
    };
    vec![
        story("a backend more", &[add]),
        story("a backend less", &[remove]),
        story("a backend replaced", &[replace]),
        story(
            "slots move on while they move",
            &[
                add,
                Step::Change("f takes most", |site| put(site, "f", 14, 4000)),
                Step::Change("f goes", |site| self::remove(site, "f")),
                remove,
            ],
        ),
        story(
            "slots move once they are mixed",
            &[add, Step::Advance, remove, Step::Advance, replace],
        ),
        story("pools swapped", &[Step::Change("both", swap)]),
        story(
            "a pool less",
            &[Step::Change("web's", |site| {
                site.services.insert("web", ("other", 1));
                site.pools.remove("web");
            })],
        ),
        story(
            "nothing at all, and everything again",
            &[
                Step::Change("nothing", |site| {
                    *site = Site {
                        modes: site.modes.clone(),
                        ..Site::empty()
                    }
                }),
                Step::Change("everything", |site| *site = Site::new(&site.modes.clone())),
            ],
        ),
        story(
            "a service more, and less",
            &[
                Step::Change("there", |site| {
                    site.services.insert("more", ("web", 3));
                }),
                Step::Change("gone", |site| {
                    site.services.remove("more");
                }),
            ],
        ),
        story(
            "a next hop moves, and back",
            &[
                Step::Change("away", |site| site.moved.extend([11, 21])),
                Step::Change("back", |site| site.moved.clear()),
            ],
        ),
        story("more slots", &[Step::Change("16381", more_slots)]),
    ]
}

/// Much of that in one plan.
pub fn everything_at_once(site: &mut Site) {
    put(site, "f", 14, 50);
    remove(site, "a");
    put(site, "b", 15, 100);
    site.moved.insert(21);
    site.services.remove("other");
    site.services.insert("more", ("other", 3));
    more_slots(site);
}

fn put(site: &mut Site, name: &'static str, number: u8, weight: u16) {
    if let Some(pool) = site.pools.get_mut("web") {
        pool.backends.insert(name, (number, weight));
    }
}

fn remove(site: &mut Site, name: &str) {
    if let Some(pool) = site.pools.get_mut("web") {
        pool.backends.remove(name);
    }
}

fn swap(site: &mut Site) {
    for (pool, _) in site.services.values_mut() {
        *pool = match *pool {
            "web" => "other",
            _ => "web",
        };
    }
}

fn more_slots(site: &mut Site) {
    if let Some(pool) = site.pools.get_mut("web") {
        pool.slots = 16_381;
    }
}
