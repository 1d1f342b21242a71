//! The BPF object of `tests/ebpf`, and its simplest program: `pass`.

use anyhow::{Context, Result};
use aya::{
    Ebpf, EbpfLoader,
    programs::{Xdp, XdpMode},
};

use crate::{cases::places::Mac, link::End, namespace::Namespace};

static OBJECT: &[u8] = aya::include_bytes_aligned!(env!("TESTS_EBPF"));

/// `pass` on any number of veth ends, so that what is sent out of the other end by XDP arrives.
/// Dropping it detaches them all.
pub struct Pass {
    object: Ebpf,
}

impl Pass {
    /// Loads the program.
    pub fn load() -> Result<Self> {
        let mut object = object()?;
        program(&mut object, "pass")?
            .load()
            .context("could not load program pass")?;
        Ok(Self { object })
    }

    /// Attaches it to one more interface, in the driver's mode.
    pub fn attach(&mut self, end: End<'_>) -> Result<()> {
        attach(program(&mut self.object, "pass")?, end)
    }
}

/// The interfaces of a namespace that an XDP program runs on, in whatever mode.
pub fn interfaces_with_any(namespace: &Namespace) -> Result<Vec<String>> {
    // A line is "2: eth0@if3: <BROADCAST,… xdp … prog/xdp id 7 …".
    let links = namespace.read_ip("-oneline link show")?;
    let attached = links.lines().filter(|line| line.contains("prog/xdp"));
    let name = |line: &str| Some(line.split(": ").nth(1)?.split('@').next()?.to_owned());
    attached
        .map(|line| name(line).with_context(|| format!("odd line {line:?}")))
        .collect()
}

/// Reads the object with all programs, each not loaded yet.
pub(crate) fn object() -> Result<Ebpf> {
    Ebpf::load(OBJECT).context("could not read the test programs")
}

/// Reads the object with the frames that `flood_v4` and `flood_v6` start from, and loads the two.
pub(crate) fn flood(v4: &[u8], v6: &[u8]) -> Result<Ebpf> {
    let mut loader = EbpfLoader::new();
    loader.override_global("TEMPLATE_V4", v4, true);
    loader.override_global("TEMPLATE_V6", v6, true);
    let loaded = loader.load(OBJECT);
    let mut object = loaded.context("could not read the test programs")?;
    for name in ["flood_v4", "flood_v6"] {
        let program = program(&mut object, name)?;
        program
            .load()
            .with_context(|| format!("could not load program {name}"))?;
    }
    Ok(object)
}

/// Reads the object with the MAC address of the interface that `receipt` is for.
pub(crate) fn receipt(mac: Mac) -> Result<Ebpf> {
    let mut loader = EbpfLoader::new();
    loader.override_global("OWN_MAC", mac.as_slice(), true);
    loader
        .load(OBJECT)
        .context("could not read the test programs")
}

/// A program of the object.
pub(crate) fn program<'a>(object: &'a mut Ebpf, name: &str) -> Result<&'a mut Xdp> {
    let program = object
        .program_mut(name)
        .with_context(|| format!("no program {name}"))?;
    Ok(program.try_into()?)
}

/// Attaches a loaded program to an interface, in the driver's mode.
pub(crate) fn attach(program: &mut Xdp, end: End<'_>) -> Result<()> {
    let End {
        namespace,
        interface,
    } = end;
    namespace
        .run(|| Ok(program.attach(interface, XdpMode::Driver).map(|_| ())?))
        .with_context(|| format!("could not attach to {interface} in {}", namespace.name()))
}
