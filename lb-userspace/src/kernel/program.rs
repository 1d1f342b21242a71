//! Loading the packet program, and what it is loaded with: alone, or over tables that outlive it.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use aya::{
    Ebpf, EbpfError, EbpfLoader,
    maps::{MapData, ProgramArray, RingBuf},
    programs::{ProgramError, ProgramFd, TestRun as _, TestRunOptions, Xdp},
};
use aya_log::EbpfLogger;
use aya_obj::{EbpfSectionKind, Object, programs::XdpAttachType};
use lb_common::abi::{
    ASIDE, CROSSING, ERRORS, MAX_IFINDEX, OLDER, PACKET, PROBE_CROSSING, RecordLimits, ReplyLimits,
    Seed, SourcePorts, TAGGED, UNCOMMON,
};
use serde::{Deserialize, Serialize};

use super::{
    counters::CounterReader,
    error::Error,
    exceptions::ExceptionTables,
    flows::FlowTables,
    pins::{PROGRAM, TableSet, pinning},
    probed::ProbedPorts,
    rings::{ProgramLog, WantedNeighbours},
    tables::{MapTables, take},
};

/// The packet program, as this binary carries it: an ELF object.
pub static OBJECT: &[u8] = aya::include_bytes_aligned!(env!("SLUICE_XDP"));

/// What is fixed when the program is loaded: the verifier removes what they rule out.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Constants {
    /// Key of the flow hash.
    pub seed: Seed,
    /// The service table's salt.
    pub salt: u64,
    /// The ports that our flows use at source addresses.
    pub ports: SourcePorts,
    /// Entries of each family's flow table.
    pub flows: u32,
    /// Backends that there is room for, index 0 included.
    pub backends: u32,
    /// Exceptions that may be recorded.
    pub limits: RecordLimits,
    /// Frames that may be made here.
    pub replies: ReplyLimits,
    /// What there is at all.
    pub features: Features,
    /// Whether every packet's outcome is logged.
    pub debug: bool,
}

/// What costs nothing where there is none of it. A program that knows of more than there is does the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Features {
    /// Whether any service is in `nat` mode.
    pub nat: bool,
    /// Whether any service in `nat` mode listens on more than single ports.
    pub nat_ranges: bool,
    /// Whether any service listens on a whole prefix.
    pub prefixes: bool,
    /// Whether any of our devices is a VLAN device.
    pub vlans: bool,
    /// Whether any check goes through a service.
    #[serde(default)]
    pub probes: bool,
}

impl Features {
    /// What there is of either.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self {
            nat: self.nat || other.nat,
            nat_ranges: self.nat_ranges || other.nat_ranges,
            prefixes: self.prefixes || other.prefixes,
            vlans: self.vlans || other.vlans,
            probes: self.probes || other.probes,
        }
    }
}

impl Constants {
    /// Entries of each family's table of young flows.
    fn young(&self) -> u32 {
        (self.flows / 4).max(1024)
    }

    /// Entries of each family's table of clients that keep to a backend.
    fn affinities(&self) -> u32 {
        (self.flows / 4).max(1024)
    }
}

/// Where a program's number leads to.
const PROGRAMS: &str = "PROGRAMS";

/// The maps that no other program shares: what it needs for a packet at hand, and what it tells this process.
const OF_ONE_PROGRAM: [&str; 9] = [
    PROGRAMS,
    "TAGGED",
    "SCRATCH_V4",
    "SCRATCH_V6",
    "ASKED",
    "WINDOW",
    "FIB",
    "WANTED",
    "AYA_LOGS",
];

/// The maps whose sizes a configuration says.
pub(super) const SIZED: [&str; 16] = [
    "BACKENDS",
    "LOADS",
    "ACTIVE",
    "BACKEND_COUNTERS",
    "HANDSHAKES",
    "NEXT_HOPS",
    "REVERSES_V4",
    "REVERSES_V6",
    "EXCEPTIONS_V4",
    "EXCEPTIONS_V6",
    "FLOWS_V4",
    "FLOWS_V6",
    "YOUNG_V4",
    "YOUNG_V6",
    "AFFINITIES_V4",
    "AFFINITIES_V6",
];

/// The loaded program.
pub struct Program {
    ebpf: Ebpf,
    hertz: u32,
    /// Whether the program of probes is loaded.
    probes: bool,
    /// The tables that it works on, if they outlive it, and where it is pinned itself.
    pinned: Option<(TableSet, PathBuf)>,
}

impl Program {
    /// Loads the object that this binary carries, with tables of its own that are empty.
    pub fn load(constants: &Constants) -> Result<Self, Error> {
        let hertz = measured_hertz(constants)?;
        let mut ebpf = load(constants, hertz, None, Flows::Here)?;
        load_programs(&mut ebpf, constants.features)?;
        Ok(Self {
            ebpf,
            hertz,
            probes: constants.features.probes,
            pinned: None,
        })
    }

    /// The same with tables that outlive it: those of a set, or new ones in it. `hertz` are the jiffies in a
    /// second, if they are known. Of flows that these tables do not know, it asks the program of `older`.
    pub(super) fn load_over(
        set: &TableSet,
        constants: &Constants,
        hertz: Option<u32>,
        older: Option<&TableSet>,
    ) -> Result<Self, Error> {
        let hertz = hertz.map_or_else(|| measured_hertz(constants), Ok)?;
        let flows = older.map_or(Flows::Here, |_| Flows::InOlderToo);
        let mut ebpf = load(constants, hertz, Some(set), flows)?;
        load_programs(&mut ebpf, constants.features)?;
        if let Some(older) = older {
            ask(&mut ebpf, &older.program()?)?;
        }
        let folder = set.new_program()?;
        pin(&mut ebpf, &folder)?;
        Ok(Self {
            ebpf,
            hertz,
            probes: constants.features.probes,
            pinned: Some((set.clone(), folder)),
        })
    }

    /// The tables of a new set, before there is a program.
    pub(super) fn tables_alone(set: &TableSet, constants: &Constants) -> Result<MapTables, Error> {
        let hertz = measured_hertz(constants)?;
        let mut ebpf = load(constants, hertz, Some(set), Flows::Here)?;
        MapTables::take(&mut ebpf, Some(set.clone()))
    }

    /// Where it is pinned, if it outlives this process.
    pub(super) fn folder(&self) -> Option<&Path> {
        self.pinned.as_ref().map(|(_, folder)| folder.as_path())
    }

    /// The program that packets meet first.
    pub(super) fn xdp(&mut self) -> Result<&mut Xdp, Error> {
        program(&mut self.ebpf, "sluice")
    }

    /// The program that probes meet, if it was loaded for such.
    pub(super) fn probe_xdp(&mut self) -> Result<Option<&mut Xdp>, Error> {
        match self.probes {
            true => program(&mut self.ebpf, "probe").map(Some),
            false => Ok(None),
        }
    }

    /// Takes the ports of probes out. They can be taken once.
    pub fn take_probed_ports(&mut self) -> Result<ProbedPorts, Error> {
        ProbedPorts::take(&mut self.ebpf)
    }

    /// Takes the tables out. They can be taken once.
    pub fn take_tables(&mut self) -> Result<MapTables, Error> {
        let set = self.pinned.as_ref().map(|(set, _)| set.clone());
        MapTables::take(&mut self.ebpf, set)
    }

    /// Takes the counters out. They can be taken once.
    pub fn take_counters(&mut self) -> Result<CounterReader, Error> {
        CounterReader::take(&mut self.ebpf)
    }

    /// Takes the exceptions out. They can be taken once.
    pub fn take_exceptions(&mut self) -> Result<ExceptionTables, Error> {
        ExceptionTables::take(&mut self.ebpf)
    }

    /// Takes the recorded flows.
    pub fn take_flows(&mut self) -> Result<FlowTables, Error> {
        let set = self.pinned.as_ref().map(|(set, _)| set);
        FlowTables::take(&mut self.ebpf, set)
    }

    /// The kernel's counter now, jiffies, as the program stamps entries with.
    pub fn jiffies(&mut self) -> Result<u32, Error> {
        Ok(read_clock(program(&mut self.ebpf, "clock")?)?.1)
    }

    /// Jiffies in a second.
    pub fn hertz(&self) -> u32 {
        self.hertz
    }

    /// Takes the program's requests for neighbours out. They can be taken once.
    pub fn take_wanted(&mut self) -> Result<WantedNeighbours, Error> {
        let ring: RingBuf<MapData> = take(&mut self.ebpf, "WANTED")?;
        WantedNeighbours::new(ring)
    }

    /// Takes the program's log out, which goes to the `log` crate. It can be taken once.
    pub fn take_log(&mut self) -> Result<ProgramLog, Error> {
        let log = EbpfLogger::init(&mut self.ebpf).map_err(|_| Error::Missing("AYA_LOGS"))?;
        ProgramLog::new(log)
    }

    /// Runs the program once on a frame, as `BPF_PROG_TEST_RUN` does.
    pub fn test_run(
        &self,
        options: TestRunOptions<'_>,
    ) -> Result<aya::programs::TestRunResult, Error> {
        let program = self
            .ebpf
            .program("sluice")
            .ok_or(Error::Missing("sluice"))?;
        let xdp: &Xdp = program.try_into()?;
        Ok(xdp.test_run(options)?)
    }

    /// Instructions that the verifier walked in the packet program, where the kernel says so.
    pub fn verified_instructions(&self) -> Option<u32> {
        let xdp: &Xdp = self.ebpf.program("sluice")?.try_into().ok()?;
        xdp.info().ok()?.verified_instruction_count()
    }
}

/// Whether the program can tell packets of a device from those of others. To be asked before tables are
/// written.
pub fn check_number(name: &str, ifindex: u32) -> Result<(), Error> {
    if ifindex < MAX_IFINDEX {
        return Ok(());
    }
    Err(Error::InterfaceNumber {
        name: name.into(),
        ifindex,
        limit: MAX_IFINDEX,
    })
}

/// Where flows are recorded.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Flows {
    /// In the program's own tables.
    Here,
    /// In those before, too.
    InOlderToo,
}

fn load(
    constants: &Constants,
    hertz: u32,
    set: Option<&TableSet>,
    flows: Flows,
) -> Result<Ebpf, Error> {
    let Features {
        nat,
        nat_ranges,
        prefixes,
        vlans,
        probes,
    } = constants.features;
    let asks_older = flows == Flows::InOlderToo;
    let switches = [
        nat,
        nat_ranges,
        prefixes,
        vlans,
        probes,
        asks_older,
        constants.debug,
    ]
    .map(u8::from);
    let [nat, nat_ranges, prefixes, vlans, probes, asks_older, debug] = &switches;
    let shared = set.map(|_| shared_maps()).transpose()?.unwrap_or_default();
    let mut loader = EbpfLoader::new();
    for ((name, _), set) in shared.iter().zip(std::iter::repeat(set).flatten()) {
        loader.map_pin_path(name, set.map(name));
    }
    Ok(loader
        .override_global("SEED_0", &constants.seed.k0, true)
        .override_global("SEED_1", &constants.seed.k1, true)
        .override_global("SERVICE_SALT", &constants.salt, true)
        .override_global("HERTZ", &hertz, true)
        .override_global("FIRST_PORT", &constants.ports.first, true)
        .override_global("PORT_COUNT", &constants.ports.count, true)
        .override_global("EXCEPTION_CAPACITY", &constants.limits.capacity, true)
        .override_global("EXCEPTION_RATE", &constants.limits.rate, true)
        .override_global("ERROR_RATE", &constants.replies.errors, true)
        .override_global(
            "ERROR_RATE_PER_SOURCE",
            &constants.replies.errors_per_source,
            true,
        )
        .override_global("RESET_RATE", &constants.replies.resets, true)
        .override_global(
            "RESET_RATE_PER_SOURCE",
            &constants.replies.resets_per_source,
            true,
        )
        .override_global("HAS_NAT", nat, true)
        .override_global("HAS_NAT_RANGES", nat_ranges, true)
        .override_global("HAS_PREFIXES", prefixes, true)
        .override_global("HAS_VLANS", vlans, true)
        .override_global("HAS_PROBES", probes, true)
        .override_global("ASKS_OLDER", asks_older, true)
        .override_global("DEBUG", debug, true)
        .map_max_entries("BACKENDS", constants.backends)
        .map_max_entries("LOADS", constants.backends)
        .map_max_entries("ACTIVE", constants.backends)
        .map_max_entries("BACKEND_COUNTERS", constants.backends)
        .map_max_entries("HANDSHAKES", constants.backends)
        .map_max_entries("NEXT_HOPS", constants.backends)
        .map_max_entries("REVERSES_V4", constants.backends)
        .map_max_entries("REVERSES_V6", constants.backends)
        .map_max_entries("EXCEPTIONS_V4", constants.limits.capacity)
        .map_max_entries("EXCEPTIONS_V6", constants.limits.capacity)
        .map_max_entries("FLOWS_V4", constants.flows)
        .map_max_entries("FLOWS_V6", constants.flows)
        .map_max_entries("YOUNG_V4", constants.young())
        .map_max_entries("YOUNG_V6", constants.young())
        .map_max_entries("AFFINITIES_V4", constants.affinities())
        .map_max_entries("AFFINITIES_V6", constants.affinities())
        .load(OBJECT)?)
}

/// The maps that the programs of a set share, by name.
pub(super) fn shared_maps() -> Result<BTreeMap<String, aya_obj::Map>, Error> {
    let object = Object::parse(OBJECT).map_err(EbpfError::from)?;
    // The others hold the object's constants.
    let is_map = |map: &aya_obj::Map| map.section_kind() == EbpfSectionKind::BtfMaps;
    let maps = object.maps.into_iter().filter(|(_, map)| is_map(map));
    let is_shared = |name: &String| !OF_ONE_PROGRAM.contains(&name.as_str());
    Ok(maps.filter(|(name, _)| is_shared(name)).collect())
}

/// Has what a program goes on to by tail call outlive this process: the kernel empties that map when neither a
/// process nor a pin holds it. And the program itself, for a build of another layout to ask about flows.
fn pin(ebpf: &mut Ebpf, folder: &Path) -> Result<(), Error> {
    let path = folder.join(PROGRAMS);
    let map = ebpf.map(PROGRAMS).ok_or(Error::Missing(PROGRAMS))?;
    map.pin(&path).map_err(|error| pinning(&path, error))?;
    let path = folder.join(PROGRAM);
    let pinned = program(ebpf, "sluice")?.pin(&path);
    pinned.map_err(|error| pinning(&path, error))
}

/// Loads all programs, but for those of what there is none of.
fn load_programs(ebpf: &mut Ebpf, features: Features) -> Result<(), Error> {
    program(ebpf, "clock")?.load()?;
    link_programs(ebpf)?;
    match features.probes {
        true => link_probe_programs(ebpf),
        false => Ok(()),
    }
}

fn program<'a>(ebpf: &'a mut Ebpf, name: &'static str) -> Result<&'a mut Xdp, Error> {
    Ok(ebpf
        .program_mut(name)
        .ok_or(Error::Missing(name))?
        .try_into()?)
}

/// Loads the packet program and those that it goes on to, and tells each where the others are. They find
/// them for as long as this process or a pin holds the map, which the kernel empties then
/// (`prog_array_map_clear`, kernel/bpf/arraymap.c).
pub fn link_programs(ebpf: &mut Ebpf) -> Result<(), Error> {
    for (name, number) in [
        ("uncommon", UNCOMMON),
        ("aside", ASIDE),
        ("crossing", CROSSING),
        ("errors", ERRORS),
        ("tagged", TAGGED),
        ("sluice", PACKET),
    ] {
        link(ebpf, name, number)?;
    }
    Ok(())
}

/// Loads the program that probes meet and the one that it alone goes on to, after [`link_programs`].
pub fn link_probe_programs(ebpf: &mut Ebpf) -> Result<(), Error> {
    link(ebpf, "probe_crossing", PROBE_CROSSING)?;
    Ok(program(ebpf, "probe")?.load()?)
}

/// Loads a program and has it be the one of a number.
fn link(ebpf: &mut Ebpf, name: &'static str, number: u32) -> Result<(), Error> {
    let next = program(ebpf, name)?;
    next.load()?;
    let next = next.fd()?.try_clone().map_err(ProgramError::from)?;
    go_on_to(ebpf, number, &next)
}

/// Has the program that is pinned there asked about flows that its tables may know.
fn ask(ebpf: &mut Ebpf, path: &Path) -> Result<(), Error> {
    let older = Xdp::from_pin(path, XdpAttachType::Interface);
    let older = older.map_err(|error| pinning(path, error))?;
    go_on_to(ebpf, OLDER, older.fd()?)
}

/// Has a program be the one of a number.
fn go_on_to(ebpf: &mut Ebpf, number: u32, program: &ProgramFd) -> Result<(), Error> {
    let failed = |error| Error::Map {
        map: PROGRAMS,
        error,
    };
    let map = ebpf.map_mut(PROGRAMS).ok_or(Error::Missing(PROGRAMS))?;
    let mut programs = ProgramArray::try_from(map).map_err(failed)?;
    programs.set(number, program, 0).map_err(failed)
}

/// Jiffies in a second (HZ). They can't be asked for: a copy with small flow tables serves as a clock.
fn measured_hertz(constants: &Constants) -> Result<u32, Error> {
    let constants = Constants {
        flows: 1024,
        backends: 1024,
        ..*constants
    };
    measure_hertz(&mut load(&constants, 1, None, Flows::Here)?)
}

/// Jiffies in a second, from two readings of the kernel's counter: once more if something kept
/// this process from running meanwhile.
fn measure_hertz(ebpf: &mut Ebpf) -> Result<u32, Error> {
    const KNOWN: [u32; 4] = [100, 250, 300, 1000];
    const ATTEMPTS: usize = 5;
    let clock = program(ebpf, "clock")?;
    clock.load()?;
    let mut measured = 0.0;
    for _ in 0..ATTEMPTS {
        measured = ticks_a_second(clock)?;
        let off = |hertz: &u32| (measured / f64::from(*hertz) - 1.0).abs();
        let nearest = KNOWN.into_iter().min_by(|a, b| off(a).total_cmp(&off(b)));
        if let Some(hertz) = nearest.filter(|hertz| off(hertz) < 0.06) {
            return Ok(hertz);
        }
    }
    Err(Error::Clock { measured })
}

/// How fast the kernel's counter goes, over a time in which even HZ = 100 is told to 4 %.
fn ticks_a_second(clock: &Xdp) -> Result<f64, Error> {
    const TIME: Duration = Duration::from_millis(250);
    let (start, first) = read_clock(clock)?;
    std::thread::sleep(TIME);
    let (end, second) = read_clock(clock)?;
    let ticks = second.wrapping_sub(first);
    Ok(f64::from(ticks) / end.duration_since(start).as_secs_f64())
}

/// The kernel's counter, and the time at which it was read.
fn read_clock(clock: &Xdp) -> Result<(Instant, u32), Error> {
    const PROMPT: Duration = Duration::from_millis(2);
    loop {
        let before = Instant::now();
        let frame = [0; 64];
        let options = TestRunOptions {
            data_in: Some(&frame),
            repeat: 1,
            ..Default::default()
        };
        let ticks = clock.test_run(options)?.return_value;
        // Else this process lost the processor in between: nobody knows when it was read.
        if before.elapsed() < PROMPT {
            return Ok((before, ticks));
        }
    }
}
