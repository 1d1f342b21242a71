//! Packets that end here and may be answered: they do not fit, their hops are used up, nobody is there for
//! them any more.

use super::{
    flaws::Flaw,
    generate::{BACKENDS, SERVICES, Source, backends},
    site::{NextHop, Site, Slot},
    story::{Change, Kind, Sent, Step},
};

impl Source {
    /// Something goes wrong for a few packets of a flow, and right again.
    pub(super) fn mishap(&mut self, site: &Site) -> Vec<Step> {
        let client = self.client();
        let service = self.below(SERVICES) as usize;
        let indices = backends(site, service);
        match self.below(5) {
            0 => self.too_big(client, service, &indices),
            1 => self.expired(client, service),
            2 => self.nobody(client, service, &indices),
            3 => self.gone(client, service),
            _ => self.again(client, service),
        }
    }

    /// A packet of a flow that goes through if nothing is wrong with it.
    fn usual(&mut self, client: u8, service: usize, kinds: &[Kind]) -> Sent {
        let sent = self.plain();
        Sent {
            client,
            service,
            kind: self.pick(kinds),
            flaw: if self.once_in(8) {
                self.flaw()
            } else {
                Flaw::None
            },
            headroom: self.pick(&[256, 256, 256, 256, 48, 47, 28, 27]),
            ..sent
        }
    }

    /// A way becomes narrow; packets are up to as long as any link takes.
    fn too_big(&mut self, client: u8, service: usize, indices: &[u32]) -> Vec<Step> {
        let open = self.usual(client, service, &[Kind::Syn]);
        let index = self.pick(indices);
        let back = Change::Load(index, NextHop::Back, 1, 0);
        let mut steps = vec![Step::Change(back), Step::Request(open)];
        if self.once_in(2) {
            steps.push(Step::Change(Change::Load(index, NextHop::Narrow, 1, 0)));
        }
        for _ in 0..1 + self.below(3) {
            let long = Sent {
                payload: self.pick(&[500, 540, 560, 580, 1330, 1400, 1440, 1460, 1461, 1480]),
                ..self.usual(client, service, &[Kind::Ack, Kind::Push])
            };
            let reply = self.once_in(3);
            steps.push(if reply {
                Step::Reply(long)
            } else {
                Step::Request(long)
            });
        }
        steps
    }

    fn expired(&mut self, client: u8, service: usize) -> Vec<Step> {
        let open = self.usual(client, service, &[Kind::Syn]);
        let last = Sent {
            hops: self.pick(&[0, 1]),
            payload: self.payload(),
            ..self.usual(client, service, &[Kind::Ack, Kind::Syn, Kind::Reset])
        };
        vec![Step::Request(open), Step::Request(last), Step::Reply(last)]
    }

    /// A service has no backend for a while.
    fn nobody(&mut self, client: u8, service: usize, indices: &[u32]) -> Vec<Step> {
        let mut steps = vec![Step::Change(Change::Slots(service, Slot::Settled(0)))];
        for _ in 0..1 + self.below(3) {
            steps.push(Step::Request(self.unserved(client, service)));
        }
        let index = self.pick(indices);
        steps.push(Step::Change(Change::Slots(service, Slot::Settled(index))));
        steps
    }

    /// A flow's backends die or are replaced; they live again.
    fn gone(&mut self, client: u8, service: usize) -> Vec<Step> {
        let open = self.usual(client, service, &[Kind::Syn, Kind::Ack]);
        let gone = match self.once_in(2) {
            true => Change::ReplaceAll(service),
            false => Change::AllAlive(service, false),
        };
        let mut steps = vec![Step::Request(open), Step::Change(gone)];
        for _ in 0..1 + self.below(3) {
            steps.push(Step::Request(self.unserved(client, service)));
        }
        steps.push(Step::Change(Change::AllAlive(service, true)));
        steps
    }

    /// Of any kind, and any length.
    fn unserved(&mut self, client: u8, service: usize) -> Sent {
        let kinds = [
            Kind::Syn,
            Kind::Ack,
            Kind::Push,
            Kind::Fin,
            Kind::Reset,
            Kind::Flags(0),
            Kind::Flags(3),
        ];
        Sent {
            offset: self.offset(),
            acknowledged: self.offset(),
            payload: self.payload(),
            ..self.usual(client, service, &kinds)
        }
    }

    /// The same once more, and once more, of clients that have a prefix in common.
    fn again(&mut self, client: u8, service: usize) -> Vec<Step> {
        let sent = Sent {
            hops: 1,
            ..self.usual(client, service, &[Kind::Ack])
        };
        let count = 2 + self.below(BACKENDS);
        let clients = (0..count).map(|n| (client + n as u8) % 4);
        let mut steps: Vec<_> = clients
            .map(|client| Step::Request(Sent { client, ..sent }))
            .collect();
        if self.once_in(2) {
            steps.push(Step::Advance(1));
            steps.push(Step::Request(sent));
        }
        steps
    }
}
