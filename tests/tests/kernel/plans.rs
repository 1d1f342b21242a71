//! Plans over the kernel's maps: held at each of their points while packets go through the program, and with writes that
//! fail at each of them.

use std::{cell::RefCell, collections::BTreeSet, path::Path as FilePath, rc::Rc};

use lb_common::abi::{RecordLimits, SourcePorts};
use lb_userspace::{
    kernel::{Constants, DataPlane, ExceptionTables, FakeTables, Features, MapTables, Pins},
    plan::{self, Tables},
    reconcile::Reconciler,
    slots::Jiffies,
};
use sluice_tests::{
    namespace::Namespace,
    plans::{
        CLIENTS, Faulty, Host, Kind, Latched, Left, Mode, Path, Shared, Site, Step, Story, Traffic,
        everything_at_once, faults, stories,
    },
    scripts::{Held as _, KernelHeld, LINKS},
    stage::Stage,
};

use super::constants;

/// Room for all flows, and no limit on what is recorded.
pub(super) fn constants() -> Constants {
    Constants {
        flows: 16_384,
        limits: RecordLimits {
            capacity: 16_384,
            rate: 1 << 20,
        },
        ports: SourcePorts {
            first: 1024,
            count: 40_000,
        },
        ..constants::small(Features {
            nat: true,
            ..Features::default()
        })
    }
}

/// A stage, and a namespace with the devices that packets come from and go to.
pub(super) fn scene(title: &str) -> (Stage, Namespace) {
    let stage = Stage::set_up(title).unwrap();
    let namespace = Namespace::create(&stage.name("host")).unwrap();
    for (name, number) in LINKS {
        let link = format!("link add {name} index {number} type veth peer name {name}-end");
        namespace.ip(&link).unwrap();
    }
    (stage, namespace)
}

/// The program, as packets meet it.
struct Plane(Rc<RefCell<DataPlane>>);

impl Path for Plane {
    fn handle(&mut self, frame: &[u8]) -> Left {
        let mut plane = self.0.borrow_mut();
        let ran = plane.program().try_frame(CLIENTS.ifindex, frame);
        let (verdict, output) = ran.unwrap();
        match verdict {
            1 => Left::Dropped,
            2 => Left::Passed,
            3 | 4 => Left::Sent(output),
            other => panic!("XDP action {other}"),
        }
    }
}

/// A story, from a site that is settled.
struct Telling {
    plane: Rc<RefCell<DataPlane>>,
    exceptions: ExceptionTables,
    traffic: Rc<RefCell<Traffic<Plane>>>,
    host: Host<Latched<MapTables, Traffic<Plane>>>,
    site: Site,
}

impl Telling {
    fn begin(stage: &Stage, title: &str) -> Self {
        let constants = constants();
        let pins = Pins::open(&stage.pin()).unwrap();
        let mut plane = DataPlane::begin(pins, &constants).unwrap();
        let maps = plane.program().take_tables().unwrap();
        let exceptions = plane.program().take_exceptions().unwrap();
        let plane = Rc::new(RefCell::new(plane));
        let site = Site::new(&Mode::ALL);
        let traffic = Traffic::new(Plane(Rc::clone(&plane)));
        let traffic = Rc::new(RefCell::new(traffic));
        let tables = Latched::new(maps, Rc::clone(&traffic));
        let folder = stage.folder().join(title);
        let mut host = Host::new(tables, (constants.seed, constants.salt), &folder);
        host.take(&site).unwrap();
        traffic.borrow_mut().begin_flows(&site);
        Self {
            plane,
            exceptions,
            traffic,
            host,
            site,
        }
    }

    fn step(&mut self, step: &Step) {
        let name = match step {
            Step::Change(name, change) => {
                change(&mut self.site);
                *name
            }
            Step::Advance => "advance",
            Step::Sweep => "sweep",
        };
        self.traffic.borrow_mut().begin_plan(name, &self.site);
        match step {
            Step::Change(..) => self.host.take(&self.site).unwrap(),
            Step::Advance => self.host.advance(&self.site).unwrap(),
            Step::Sweep => {
                let clock = self.clock();
                self.host.sweep(&mut self.exceptions, clock).unwrap();
            }
        }
        self.traffic.borrow_mut().end_plan();
    }

    fn clock(&self) -> Jiffies {
        let mut plane = self.plane.borrow_mut();
        let now = plane.program().jiffies().unwrap();
        let hertz = plane.program().hertz();
        Jiffies { now, hertz }
    }
}

fn tell(stage: &Stage, story: &Story) -> (Vec<String>, BTreeSet<Kind>) {
    let mut telling = Telling::begin(stage, story.title);
    story.steps.iter().for_each(|step| telling.step(step));
    let traffic = telling.traffic.borrow();
    let (packets, points) = traffic.sent();
    println!("{}: {packets} packets at {points} points", story.title);
    let wrong = traffic.wrong().iter();
    let wrong = wrong.map(|wrong| format!("{}: {wrong}", story.title));
    (wrong.collect(), traffic.held().clone())
}

#[test]
fn plans_that_are_held_anywhere_lose_nothing() {
    let (stage, namespace) = scene("sluice-latches");
    let told = namespace.run(|| {
        let told = stories().into_iter().map(|story| tell(&stage, &story));
        Ok(told.collect::<Vec<_>>())
    });
    let (mut wrong, mut held) = (Vec::new(), BTreeSet::new());
    for (of_story, kinds) in told.unwrap() {
        wrong.extend(of_story);
        held.extend(kinds);
    }
    assert!(
        wrong.is_empty(),
        "{} wrong:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
    assert_eq!(held, BTreeSet::from(HELD));
}

/// What some story holds a plan at: all but devices and sources, which are there once for all, and what these
/// configurations have nothing of.
const HELD: [Kind; 12] = [
    Kind::SetNextHop,
    Kind::SetBackend,
    Kind::SetReverse,
    Kind::SetLoad,
    Kind::SetTimeouts,
    Kind::CreateTable,
    Kind::SetOldTable,
    Kind::RemoveTable,
    Kind::SetSlots,
    Kind::SetOwn,
    Kind::SetListening,
    Kind::SetService,
];

/// What the tables are to hold by and by: a site, then all of it another.
fn wanted(folder: &FilePath) -> [Tables; 2] {
    let constants = constants();
    let keys = (constants.seed, constants.salt);
    let mut host = Host::new(FakeTables::default(), keys, folder);
    let mut site = Site::new(&[Mode::Nat]);
    host.take(&site).unwrap();
    let first = host.tables().clone();
    everything_at_once(&mut site);
    host.take(&site).unwrap();
    [first, host.tables().clone()]
}

/// Tables of the kernel's that fail where they are told to, and what was written.
type Failing = Rc<RefCell<Faulty<KernelHeld>>>;

#[test]
fn what_fails_on_maps_is_made_up_for() {
    let (stage, namespace) = scene("sluice-faults");
    let ways = namespace.run(|| {
        let pins = Pins::open(&stage.pin())?;
        let mut plane = DataPlane::begin(pins, &constants())?;
        let maps = KernelHeld::new(plane.program().take_tables()?, plane.set().clone());
        let tables: Failing = Rc::new(RefCell::new(Faulty::new(maps)));
        let mut reconciler = Reconciler::new(Shared(Rc::clone(&tables)));
        let [first, second] = wanted(&stage.folder().join("slots"));
        let mut pass = |wanted: &Tables| reconciler.reconcile(wanted);
        // What is gone stays to be seen: backends that are dead, for one. So all are there once before.
        for wanted in [&first, &second, &first] {
            pass(wanted)?;
        }
        let faults = faults(&plan::diff(&tables.borrow().held(), &second));
        pass(&second)?;
        let expected = tables.borrow().held();
        for fault in &faults {
            pass(&first)?;
            tables.borrow_mut().fail(*fault);
            pass(&second).expect_err("a fault");
            pass(&second)?;
            assert_eq!(pass(&second)?, 0, "{fault:?}");
            assert_eq!(tables.borrow().held(), expected, "{fault:?}");
        }
        Ok(faults.len())
    });
    let ways = ways.unwrap();
    assert!(ways > 50, "{ways}");
}
