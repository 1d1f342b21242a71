//! Loading the packet program: alone, or over tables that outlive it, where it may be there already.

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
    ASIDE, CROSSING, ERRORS, MAX_IFINDEX, OLDER, PACKET, PROBE_CROSSING, TAGGED, UNCOMMON,
};

use super::{
    constants::{Constants, Features, Globals},
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

/// Where a program's number leads to.
const PROGRAMS: &str = "PROGRAMS";

/// Room for what the program puts before a packet, bytes: the headers of a tunnel, and tags.
const HEADERS: usize = 128;

/// What the program asks of the agent.
const WANTED: &str = "WANTED";

/// The program's own debug lines.
const LOG: &str = "AYA_LOGS";

/// What the program that probes meet is called, and pinned as.
const PROBE: &str = "probe";

/// The program that tells the time.
const CLOCK: &str = "clock";

/// The maps that no other program shares: what it needs for a packet at hand, and what it tells this process.
const OF_ONE_PROGRAM: [&str; 9] = [
    PROGRAMS,
    "TAGGED",
    "SCRATCH_V4",
    "SCRATCH_V6",
    "ASKED",
    "WINDOW",
    "FIB",
    WANTED,
    LOG,
];

/// Those of them that are pinned beside the program. The kernel empties the first when neither a process nor a pin
/// holds it; by the others an agent that goes on with the program hears of it.
const PINNED_BESIDE: [&str; 3] = [PROGRAMS, WANTED, LOG];

/// The loaded program.
pub struct Program {
    ebpf: Ebpf,
    hertz: u32,
    /// The programs that packets and probes meet, if they were there before: else they are in `ebpf`.
    entries: Option<Entries>,
    /// Whether the program of probes is loaded.
    probes: bool,
    /// The tables that it works on, if they outlive it, and where it is pinned itself.
    pinned: Option<(TableSet, PathBuf)>,
}

/// What frames meet first.
struct Entries {
    packets: Xdp,
    probes: Option<Xdp>,
}

impl Program {
    /// Loads the object that this binary carries, with tables of its own that are empty.
    pub fn load(constants: &Constants) -> Result<Self, Error> {
        let hertz = measured_hertz(constants)?;
        let globals = Globals::new(constants, hertz, false);
        let mut ebpf = load(constants, &globals, &[])?;
        load_programs(&mut ebpf, constants.features)?;
        Ok(Self {
            ebpf,
            hertz,
            entries: None,
            probes: constants.features.probes,
            pinned: None,
        })
    }

    /// The same with tables that outlive it: those of a set, or new ones in it. `hertz` are the jiffies in a
    /// second, if they are known. Of flows that these tables do not know, it asks the program of `older`.
    ///
    /// Where the set has the same program already, that is it: the verifier, which takes seconds, has taken it.
    pub(super) fn load_over(
        set: &TableSet,
        constants: &Constants,
        hertz: Option<u32>,
        older: Option<&TableSet>,
    ) -> Result<Self, Error> {
        let hertz = hertz.map_or_else(|| measured_hertz(constants), Ok)?;
        let globals = Globals::new(constants, hertz, older.is_some());
        let there = match older {
            None => set.program_loaded_from(globals.fingerprint())?,
            Some(_) => None,
        };
        let probes = constants.features.probes;
        let folder = there.clone().map_or_else(|| set.new_program(), Ok)?;
        let mut ebpf = load(constants, &globals, &pins_over(set, Some(&folder))?)?;
        let entries = match there {
            Some(folder) => {
                program(&mut ebpf, CLOCK)?.load()?;
                Some(Entries::pinned(&folder, probes)?)
            }
            None => {
                load_programs(&mut ebpf, constants.features)?;
                if let Some(older) = older {
                    ask(&mut ebpf, &older.program()?)?;
                }
                pin(&mut ebpf, &folder, probes)?;
                TableSet::complete_program(&folder, globals.fingerprint())?;
                None
            }
        };
        Ok(Self {
            ebpf,
            hertz,
            entries,
            probes,
            pinned: Some((set.clone(), folder)),
        })
    }

    /// The tables of a new set, before there is a program.
    pub(super) fn tables_alone(set: &TableSet, constants: &Constants) -> Result<MapTables, Error> {
        let hertz = measured_hertz(constants)?;
        let globals = Globals::new(constants, hertz, false);
        let mut ebpf = load(constants, &globals, &pins_over(set, None)?)?;
        MapTables::take(&mut ebpf, Some(set.clone()))
    }

    /// Where it is pinned, if it outlives this process.
    pub(super) fn folder(&self) -> Option<&Path> {
        self.pinned.as_ref().map(|(_, folder)| folder.as_path())
    }

    /// The program that packets meet first.
    pub(super) fn xdp(&mut self) -> Result<&mut Xdp, Error> {
        match &mut self.entries {
            Some(there) => Ok(&mut there.packets),
            None => program(&mut self.ebpf, PROGRAM),
        }
    }

    /// The program that probes meet, if it was loaded for such.
    pub(super) fn probe_xdp(&mut self) -> Result<Option<&mut Xdp>, Error> {
        match &mut self.entries {
            Some(there) => Ok(there.probes.as_mut()),
            None if self.probes => program(&mut self.ebpf, PROBE).map(Some),
            None => Ok(None),
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
        Ok(read_clock(program(&mut self.ebpf, CLOCK)?)?.1)
    }

    /// Jiffies in a second.
    pub fn hertz(&self) -> u32 {
        self.hertz
    }

    /// Takes the program's requests for neighbours out. They can be taken once.
    pub fn take_wanted(&mut self) -> Result<WantedNeighbours, Error> {
        let ring: RingBuf<MapData> = take(&mut self.ebpf, WANTED)?;
        WantedNeighbours::new(ring)
    }

    /// Takes the program's log out, which goes to the `log` crate. It can be taken once.
    pub fn take_log(&mut self) -> Result<ProgramLog, Error> {
        let log = EbpfLogger::init(&mut self.ebpf).map_err(|_| Error::Missing(LOG))?;
        ProgramLog::new(log)
    }

    /// Runs the program once on a frame, as `BPF_PROG_TEST_RUN` does.
    pub fn test_run(
        &self,
        options: TestRunOptions<'_>,
    ) -> Result<aya::programs::TestRunResult, Error> {
        Ok(self.packets()?.test_run(options)?)
    }

    /// What the program makes of a frame that comes in through the device of this number: its verdict (`enum
    /// xdp_action`), and the frame afterwards. It leaves by no device.
    pub fn try_frame(&self, ifindex: u32, frame: &[u8]) -> Result<(u32, Vec<u8>), Error> {
        let mut output = vec![0; frame.len() + HEADERS];
        // struct xdp_md: data, data_end, data_meta, ingress_ifindex, rx_queue_index, egress_ifindex.
        let end = u32::try_from(frame.len()).unwrap_or(u32::MAX);
        let context = [0, end, 0, ifindex, 0, 0].map(u32::to_ne_bytes).concat();
        let ran = self.test_run(TestRunOptions {
            data_in: Some(frame),
            data_out: Some(&mut output),
            ctx_in: Some(&context),
            ..TestRunOptions::default()
        })?;
        output.truncate(usize::try_from(ran.data_size_out).unwrap_or(0));
        Ok((ran.return_value, output))
    }

    /// Instructions that the verifier walked in the packet program, where the kernel says so.
    pub fn verified_instructions(&self) -> Option<u32> {
        let info = self.packets().ok()?.info().ok()?;
        info.verified_instruction_count()
    }

    fn packets(&self) -> Result<&Xdp, Error> {
        if let Some(there) = &self.entries {
            return Ok(&there.packets);
        }
        let program = self.ebpf.program(PROGRAM);
        Ok(program.ok_or(Error::Missing(PROGRAM))?.try_into()?)
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

/// Has the object's maps be there, and its programs ready to be loaded. `pins` are the paths of maps that are pinned,
/// or will be.
fn load(
    constants: &Constants,
    globals: &Globals,
    pins: &[(String, PathBuf)],
) -> Result<Ebpf, Error> {
    let mut loader = EbpfLoader::new();
    for (name, path) in pins {
        loader.map_pin_path(name, path);
    }
    for (name, bytes) in globals.iter() {
        loader.override_global(name, bytes, true);
    }
    for (name, entries) in constants.sizes().of_maps() {
        loader.map_max_entries(name, entries);
    }
    Ok(loader.load(OBJECT)?)
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

/// Where maps are pinned: those of a set, and those beside a program in its folder.
fn pins_over(set: &TableSet, program: Option<&Path>) -> Result<Vec<(String, PathBuf)>, Error> {
    let shared = shared_maps()?.into_keys();
    let shared = shared.map(|name| (set.map(&name), name));
    let beside = program.into_iter().flat_map(|folder| {
        let path = |name: &str| (folder.join(name), name.to_owned());
        PINNED_BESIDE.map(path)
    });
    let pins = shared.chain(beside);
    Ok(pins.map(|(path, name)| (name, path)).collect())
}

/// Has what frames meet first outlive this process: for the next agent, and for a build of another layout to ask
/// about flows.
fn pin(ebpf: &mut Ebpf, folder: &Path, probes: bool) -> Result<(), Error> {
    let names = [PROGRAM].into_iter().chain(probes.then_some(PROBE));
    for name in names {
        let path = folder.join(name);
        let pinned = program(ebpf, name)?.pin(&path);
        pinned.map_err(|error| pinning(&path, error))?;
    }
    Ok(())
}

impl Entries {
    /// Those that are pinned in a program's folder.
    fn pinned(folder: &Path, probes: bool) -> Result<Self, Error> {
        let entry = |name| {
            let path = folder.join(name);
            let xdp = Xdp::from_pin(&path, XdpAttachType::Interface);
            xdp.map_err(|error| pinning(&path, error))
        };
        Ok(Self {
            packets: entry(PROGRAM)?,
            probes: probes.then(|| entry(PROBE)).transpose()?,
        })
    }
}

/// Loads all programs, but for those of what there is none of.
fn load_programs(ebpf: &mut Ebpf, features: Features) -> Result<(), Error> {
    program(ebpf, CLOCK)?.load()?;
    if features.crossing {
        link_crossing_programs(ebpf)?;
    }
    link_programs(ebpf)?;
    match features.probes {
        true => link_probe_programs(ebpf, features.crossing),
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
    let programs = [
        ("uncommon", UNCOMMON),
        ("aside", ASIDE),
        ("tagged", TAGGED),
        ("sluice", PACKET),
    ];
    programs
        .into_iter()
        .try_for_each(|(name, number)| link(ebpf, name, number))
}

/// Loads those that go on with flows whose ends may be of both families.
pub fn link_crossing_programs(ebpf: &mut Ebpf) -> Result<(), Error> {
    link(ebpf, "crossing", CROSSING)?;
    link(ebpf, "errors", ERRORS)
}

/// Loads the program that probes meet, after [`link_programs`], and the one that it alone goes on to where flows
/// are `crossing`.
pub fn link_probe_programs(ebpf: &mut Ebpf, crossing: bool) -> Result<(), Error> {
    if crossing {
        link(ebpf, "probe_crossing", PROBE_CROSSING)?;
    }
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
    let globals = Globals::new(&constants, 1, false);
    measure_hertz(&mut load(&constants, &globals, &[])?)
}

/// Jiffies in a second, from two readings of the kernel's counter: once more if something kept
/// this process from running meanwhile.
fn measure_hertz(ebpf: &mut Ebpf) -> Result<u32, Error> {
    const KNOWN: [u32; 4] = [100, 250, 300, 1000];
    const ATTEMPTS: usize = 5;
    let clock = program(ebpf, CLOCK)?;
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
