//! The data plane: a program over tables, on devices, all of it pinned, so that it outlives the agent. An agent
//! begins one, or takes over the one that another left; nothing in between is without a program.
//!
//! ```text
//!  nothing there        begin:  new tables ──► (written) ──► complete ──► hand over, attach
//!  tables of use        adopt:  a program of this build over them ──► hand over ──► (written), attach
//!  tables of no use     begin, beside them ──► (written) ──► complete ──► hand over, and they are gone
//!  tables whose flows   follow: new tables, and a program that asks theirs ──► (written) ──► complete ──►
//!  others are to have           hand over ──► (carried) ──► a program that asks nobody ──► follow none
//! ```

use super::{
    attachments::{Attachment, Attachments, ProbeAttachment},
    constants::Constants,
    error::Error,
    pins::{Identity, Pins, TableSet},
    program::Program,
    tables::MapTables,
};

/// A program over tables, on devices.
pub struct DataPlane {
    pins: Pins,
    set: TableSet,
    /// The tables before, from the newest on, while their flows are not in these yet.
    older: Vec<TableSet>,
    program: Program,
    attachments: Attachments,
    /// The device of probes, which goes with the agent: so nothing of it is pinned.
    probe: Option<ProbeAttachment>,
}

/// New tables, pinned, that no program works on: for whoever only writes and reads them.
pub fn new_tables(pins: &Pins, constants: &Constants) -> Result<(MapTables, TableSet), Error> {
    let set = pins.new_set()?;
    let maps = Program::tables_alone(&set, constants)?;
    Ok((maps, set))
}

impl DataPlane {
    /// New tables, with a program that runs nowhere yet.
    pub fn begin(pins: Pins, constants: &Constants) -> Result<Self, Error> {
        let set = pins.new_set()?;
        Self::over(pins, set, Vec::new(), constants, None)
    }

    /// New tables in the place of others, with a program that asks theirs and runs nowhere yet. `hertz` are the
    /// jiffies in a second.
    pub fn follow(
        pins: Pins,
        older: Vec<TableSet>,
        constants: &Constants,
        hertz: u32,
    ) -> Result<Self, Error> {
        let set = pins.new_set()?;
        if let Some(before) = older.first() {
            set.follow(before)?;
        }
        Self::over(pins, set, older, constants, Some(hertz))
    }

    /// The tables of a set as they are, with a program that runs nowhere yet and asks that of `older`, if there are
    /// such. `hertz` are the jiffies in a second.
    pub fn adopt(
        pins: Pins,
        set: TableSet,
        older: Vec<TableSet>,
        constants: &Constants,
        hertz: u32,
    ) -> Result<Self, Error> {
        Self::over(pins, set, older, constants, Some(hertz))
    }

    fn over(
        pins: Pins,
        set: TableSet,
        older: Vec<TableSet>,
        constants: &Constants,
        hertz: Option<u32>,
    ) -> Result<Self, Error> {
        let attachments = Attachments::open(pins.links())?;
        let program = Program::load_over(&set, constants, hertz, older.first())?;
        Ok(Self {
            pins,
            set,
            older,
            program,
            attachments,
            probe: None,
        })
    }

    /// Its tables.
    pub fn set(&self) -> &TableSet {
        &self.set
    }

    /// The program.
    pub fn program(&mut self) -> &mut Program {
        &mut self.program
    }

    /// The tables are written, and are these from now on.
    pub fn complete(&self, identity: Identity) -> Result<(), Error> {
        self.set.complete(identity)
    }

    /// What is known of the tables has come this far.
    pub fn advance(&self, sequence: u64) -> Result<(), Error> {
        self.set.advance(sequence)
    }

    /// Has all devices that run another program go over to this one. Other programs and tables are gone then, but
    /// for those before these. Returns devices that are no more.
    pub fn hand_over(&mut self) -> Result<Vec<Attachment>, Error> {
        let gone = self.attachments.hand_over(self.program.xdp()?)?;
        match (&mut self.probe, self.program.probe_xdp()?) {
            (Some(probe), Some(xdp)) => probe.hand_over(xdp)?,
            // Nobody probes any more.
            (Some(_), None) => self.probe = None,
            (None, _) => {}
        }
        if let Some(folder) = self.program.folder() {
            self.set.keep_only_program(folder)?;
        }
        let older = self.older.iter();
        let kept: Vec<&TableSet> = older.chain([&self.set]).collect();
        self.pins.keep_only(&kept)?;
        Ok(gone)
    }

    /// These tables have all that those before had, which are gone then. No program that asks theirs may run any more.
    pub fn follow_none(&mut self) -> Result<(), Error> {
        self.older.clear();
        // The link last: without it one of those would be gone on with that is of a start's own layout.
        self.pins.keep_only(&[&self.set])?;
        self.set.follow_none()
    }

    /// Another program over the same tables, to be put in the place of the one that runs. It asks no other.
    pub fn load(&self, constants: &Constants) -> Result<Program, Error> {
        Program::load_over(&self.set, constants, Some(self.program.hertz()), None)
    }

    /// Has it run from the next [`DataPlane::hand_over`] on.
    pub fn replace_program(&mut self, program: Program) {
        self.program = program;
    }

    /// Attaches the program to those of `devices` (name and the kernel's number) that it is not attached to,
    /// to all or to none; returns those. Where it runs, the first ones decide: see [`Attachment`].
    pub fn attach<'a>(
        &mut self,
        devices: impl IntoIterator<Item = (&'a str, u32)>,
    ) -> Result<Vec<Attachment>, Error> {
        self.attachments.add(self.program.xdp()?, devices)
    }

    /// Attaches the program of probes to their device (name and the kernel's number), as the others are, if it was
    /// loaded for such.
    pub fn attach_probe(&mut self, device: (&str, u32)) -> Result<(), Error> {
        if let (None, Some(xdp)) = (&self.probe, self.program.probe_xdp()?) {
            self.probe = Some(self.attachments.probe(xdp, device)?);
        }
        Ok(())
    }

    /// The device of probes, if the program is attached to it.
    pub fn probe(&self) -> Option<&Attachment> {
        self.probe.as_ref().map(ProbeAttachment::attachment)
    }

    /// Detaches the program from all devices but those that are wanted, by the kernel's number.
    pub fn detach_all_but(&mut self, is_wanted: impl Fn(u32) -> bool) -> Result<(), Error> {
        self.attachments.remove_all_but(is_wanted)
    }

    /// The devices that the program is attached to.
    pub fn attachments(&self) -> Vec<Attachment> {
        self.attachments.list()
    }

    /// Ends it: nothing is attached or pinned any more.
    pub fn end(self) -> Result<(), Error> {
        detach(self.pins).map(drop)
    }
}

/// Ends what an agent left: detaches its program from all devices, which are returned, and removes what is pinned.
pub fn detach(pins: Pins) -> Result<Vec<Attachment>, Error> {
    let mut attachments = Attachments::open(pins.links())?;
    let detached = attachments.list();
    attachments.remove_all_but(|_| false)?;
    pins.remove()?;
    Ok(detached)
}
