//! The runner over a fake kernel: what it reads when, and how it gets over a lost socket.

use std::sync::Mutex;

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::*;
use crate::net::{
    facts::{InterfaceAddress, Link, LinkKind, Match, Neighbour, Route},
    resolution::Resolution,
};

const ETH: IfIndex = IfIndex(2);

/// What the fake holds and what it was asked.
#[derive(Default)]
struct State {
    entries: BTreeMap<Neighbourhood, Neighbour>,
    requests: Vec<Request>,
    solicited: Vec<Neighbourhood>,
    readings: usize,
    opened: usize,
    broken: bool,
}

struct Fake {
    state: Arc<Mutex<State>>,
    events: UnboundedReceiver<Result<Event, Error>>,
}

fn closed() -> Error {
    Error::Closed {
        what: "a test".into(),
    }
}

impl Netlink for Fake {
    fn reopen(&mut self) -> Result<(), Error> {
        let mut state = self.state.lock().unwrap();
        state.opened += 1;
        if state.broken { Err(closed()) } else { Ok(()) }
    }

    async fn event(&mut self) -> Result<Event, Error> {
        match self.events.recv().await {
            Some(event) => event,
            None => pending().await,
        }
    }

    async fn links(&self) -> Result<BTreeMap<IfIndex, Link>, Error> {
        let link = Link {
            name: "eth".into(),
            mac: None,
            mtu: 1500,
            up: true,
            carrier: true,
            resolves: true,
            kind: LinkKind::Ethernet,
            make: None,
            vlan: None,
        };
        Ok(BTreeMap::from([(ETH, link)]))
    }

    async fn addresses(&self) -> Result<Vec<InterfaceAddress>, Error> {
        Ok(vec![])
    }

    async fn neighbours(&self) -> Result<BTreeMap<Neighbourhood, Neighbour>, Error> {
        let mut state = self.state.lock().unwrap();
        state.readings += 1;
        if state.broken {
            Err(closed())
        } else {
            Ok(state.entries.clone())
        }
    }

    async fn neighbour(&self, place: Neighbourhood) -> Result<Option<Neighbour>, Error> {
        Ok(self.state.lock().unwrap().entries.get(&place).copied())
    }

    async fn route(&self, _: IpAddr) -> Result<Route, Error> {
        Ok(Route::Unicast {
            device: ETH,
            gateway: None,
            preferred_source: None,
            mtu: None,
        })
    }

    async fn matching(&self, _: IpAddr) -> Result<Match, Error> {
        Ok(Match::Nothing)
    }

    async fn apply(&self, request: Request) -> Result<(), Error> {
        self.state.lock().unwrap().requests.push(request);
        Ok(())
    }

    async fn solicit(&self, place: Neighbourhood, _: bool) -> Result<(), Error> {
        self.state.lock().unwrap().solicited.push(place);
        Ok(())
    }
}

struct Bench {
    resolver: Resolver,
    snapshots: watch::Receiver<Snapshot>,
    state: Arc<Mutex<State>>,
    events: UnboundedSender<Result<Event, Error>>,
}

impl Bench {
    fn new() -> Self {
        let state = Arc::new(Mutex::new(State::default()));
        let (events, receiver) = unbounded_channel();
        let resolver = Resolver::with(Fake {
            state: state.clone(),
            events: receiver,
        });
        let snapshots = resolver.snapshots();
        Self {
            resolver,
            snapshots,
            state,
            events,
        }
    }

    fn set(&self, mac: [u8; 6]) {
        let entry = Neighbour {
            mac: Some(mac),
            failed: false,
            keeper: Keeper::Sluice,
        };
        self.state
            .lock()
            .unwrap()
            .entries
            .insert((ETH, wanted()), entry);
    }

    async fn mac(&mut self, expected: [u8; 6]) {
        let arrived = self.snapshots.wait_for(|snapshot| {
            snapshot
                .get(&wanted())
                .and_then(Resolution::next_hop)
                .is_some_and(|next_hop| next_hop.mac == expected)
        });
        timeout(Duration::from_secs(60), arrived)
            .await
            .unwrap()
            .unwrap();
    }
}

fn wanted() -> IpAddr {
    "198.18.1.11".parse().unwrap()
}

#[tokio::test(start_paused = true)]
async fn events_make_it_read_again_and_publish_changes() {
    let mut bench = Bench::new();
    bench.resolver.want([wanted()].into());
    bench
        .snapshots
        .wait_for(|snapshot| snapshot.contains_key(&wanted()))
        .await
        .unwrap();
    assert_eq!(
        bench.state.lock().unwrap().requests,
        [Request::Create((ETH, wanted()))]
    );
    bench.set([2, 0, 0, 0, 0, 1]);
    bench.events.send(Ok(Event::Address)).unwrap();
    bench.mac([2, 0, 0, 0, 0, 1]).await;
    bench.set([2, 0, 0, 0, 0, 2]);
    bench.events.send(Ok(Event::Overrun)).unwrap();
    bench.mac([2, 0, 0, 0, 0, 2]).await;
}

#[tokio::test(start_paused = true)]
async fn a_burst_of_events_costs_one_reading() {
    let mut bench = Bench::new();
    bench.set([2, 0, 0, 0, 0, 1]);
    bench.resolver.want([wanted()].into());
    bench.mac([2, 0, 0, 0, 0, 1]).await;
    let before = bench.state.lock().unwrap().readings;
    for _ in 0..1000 {
        bench.events.send(Ok(Event::Address)).unwrap();
    }
    tokio::time::sleep(GATHER * 10).await;
    assert_eq!(bench.state.lock().unwrap().readings, before + 1);
}

#[tokio::test(start_paused = true)]
async fn a_lost_socket_keeps_the_snapshot_and_is_opened_again() {
    let mut bench = Bench::new();
    bench.set([2, 0, 0, 0, 0, 1]);
    bench.resolver.want([wanted()].into());
    bench.mac([2, 0, 0, 0, 0, 1]).await;
    bench.snapshots.mark_unchanged();
    bench.state.lock().unwrap().broken = true;
    bench.events.send(Err(closed())).unwrap();
    tokio::time::sleep(BACKOFF * 10).await;
    assert!(
        !bench.snapshots.has_changed().unwrap(),
        "the last snapshot stands"
    );
    let opened = bench.state.lock().unwrap().opened;
    assert!((5..20).contains(&opened), "{opened} attempts in ten pauses");
    bench.set([2, 0, 0, 0, 0, 2]);
    bench.state.lock().unwrap().broken = false;
    bench.mac([2, 0, 0, 0, 0, 2]).await;
}

#[tokio::test(start_paused = true)]
async fn probes_leave_kept_neighbours_alone() {
    let mut bench = Bench::new();
    bench.set([2, 0, 0, 0, 0, 1]);
    bench.resolver.want([wanted()].into());
    bench.mac([2, 0, 0, 0, 0, 1]).await;
    let client: IpAddr = "198.18.9.9".parse().unwrap();
    bench.resolver.probe(ETH, wanted());
    bench.resolver.probe(ETH, client);
    tokio::time::sleep(GATHER).await;
    assert_eq!(bench.state.lock().unwrap().solicited, [(ETH, client)]);
}

#[tokio::test(start_paused = true)]
async fn a_clean_stop_releases_what_was_kept() {
    let mut bench = Bench::new();
    bench.set([2, 0, 0, 0, 0, 1]);
    bench.resolver.want([wanted()].into());
    bench.mac([2, 0, 0, 0, 0, 1]).await;
    bench.resolver.stop().await;
    assert_eq!(
        bench.state.lock().unwrap().requests,
        [Request::Release((ETH, wanted()))]
    );
}
