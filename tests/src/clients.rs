//! The clients: many addresses, a connection for each request, and a judgement of each answer.

use std::{
    net::{IpAddr, SocketAddr},
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use anyhow::{Context, Result, anyhow, ensure};

use crate::{
    addresses::{self, Family},
    http::{self, Request},
    interrupt,
    namespace::Namespace,
    services::{Mode, PORT, SERVICES, Service},
};

/// Connections at a time.
const WORKERS: usize = 8;
/// After so many failures the rest would tell nothing new.
const ENOUGH_FAILURES: usize = 20;
/// How long connecting, and each read or write, may take.
pub const LIMIT: Duration = Duration::from_secs(5);

/// A request to be made.
#[derive(Clone, Copy, Debug)]
pub struct Order {
    /// What the request carries and the answer must repeat.
    pub number: u32,
    /// Who is to answer.
    pub service: &'static Service,
    /// Over which family.
    pub family: Family,
    /// Where the connection comes from.
    pub from: IpAddr,
}

/// What became of an [`Order`].
#[derive(Debug)]
pub struct Answer {
    /// The order.
    pub order: Order,
    /// The backend that answered rightly, or what went wrong.
    pub result: Result<&'static str, String>,
}

/// `count` orders, spread evenly over services and families, each from a client of its own.
pub fn orders(count: u32) -> Vec<Order> {
    let kinds: Vec<_> = SERVICES
        .iter()
        .flat_map(|s| Family::ALL.map(|family| (s, family)))
        .collect();
    let numbered = (0..count).zip(kinds.into_iter().cycle());
    let order = |(number, (service, family))| Order {
        number,
        service,
        family,
        from: addresses::client(family, number),
    };
    numbered.map(order).collect()
}

/// Carries out `orders` from `namespace`, and tells `watch` of each answer. Gives up after many
/// failures: then there are fewer answers than orders.
pub fn send(
    namespace: &Namespace,
    orders: &[Order],
    watch: &(dyn Fn(&Answer) + Sync),
) -> Result<Vec<Answer>> {
    let next = AtomicUsize::new(0);
    let failures = AtomicUsize::new(0);
    let answers = Mutex::new(Vec::with_capacity(orders.len()));
    let work = || -> Result<()> {
        namespace.enter()?;
        while failures.load(Ordering::Relaxed) < ENOUGH_FAILURES {
            interrupt::check()?;
            let Some(order) = orders.get(next.fetch_add(1, Ordering::Relaxed)) else {
                break;
            };
            let result = carry_out(order).map_err(|error| format!("{error:#}"));
            failures.fetch_add(usize::from(result.is_err()), Ordering::Relaxed);
            let answer = Answer {
                order: *order,
                result,
            };
            watch(&answer);
            answers
                .lock()
                .map_err(|_| anyhow!("another client panicked"))?
                .push(answer);
        }
        Ok(())
    };
    thread::scope(|scope| {
        let workers: Vec<_> = (0..WORKERS).map(|_| scope.spawn(work)).collect();
        workers
            .into_iter()
            .try_for_each(|worker| worker.join().unwrap_or_else(|_| Err(anyhow!("panicked"))))
    })
    .context("a client gave up")?;
    answers
        .into_inner()
        .map_err(|_| anyhow!("a client panicked"))
}

fn carry_out(order: &Order) -> Result<&'static str> {
    let Order {
        number,
        service,
        family,
        from,
    } = order;
    let to = SocketAddr::new(service.address.of(*family), PORT);
    let path = format!("/?number={number}");
    let response = http::exchange(Some(*from), to, &Request::get(&path), LIMIT)?;
    ensure!(response.status == 200, "status {}", response.status);
    let backend = judge(order, &response.body)?;
    let header = response.header("x-backend");
    ensure!(header == backend, "body of {backend}, header of {header:?}");
    Ok(backend)
}

/// The backend, if the body is the right answer: "BACKEND SERVICE NUMBER CLIENT".
fn judge(order: &Order, body: &str) -> Result<&'static str> {
    let Order {
        number,
        service,
        family,
        from,
    } = order;
    let fields: Vec<&str> = body.split(' ').collect();
    let [backend, name, echoed, seen] = fields[..] else {
        return Err(anyhow!("odd answer {body:?}"));
    };
    ensure!(
        name == service.name,
        "asked {}, answered by {name}",
        service.name
    );
    ensure!(
        echoed == number.to_string(),
        "asked with number {number}, answered with {echoed:?}"
    );
    // In ipip mode the backend sees the client, in full-nat one of the balancer's addresses.
    let expected = match service.mode {
        Mode::FullNat => service.source.of(*family),
        Mode::Ipip => *from,
    };
    ensure!(
        seen.parse() == Ok(expected),
        "the backend saw {seen} instead of {expected}"
    );
    let known = service.backends.iter().find(|known| known.name == backend);
    Ok(known
        .with_context(|| format!("{backend} is no backend of {name}"))?
        .name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_right_answer_is_right() {
        let order = orders(1)[0];
        assert_eq!(judge(&order, "web2 web 0 198.18.1.254").unwrap(), "web2");
        for wrong in [
            "",
            "web2 web 0",
            "web2 web 1 198.18.1.254",
            "web2 tunnel 0 198.18.1.254",
            "tunnel2 web 0 198.18.1.254",
            "web2 web 0 198.18.64.1",
            "web2 web 0 198.18.1.254 web2",
        ] {
            assert!(judge(&order, wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn orders_are_spread_evenly() {
        let orders = orders(400);
        for service in &SERVICES {
            for family in Family::ALL {
                let of = |o: &&Order| o.service.name == service.name && o.family == family;
                assert_eq!(orders.iter().filter(of).count(), 100);
            }
        }
    }
}
