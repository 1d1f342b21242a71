//! Where the packet program runs: in the drivers of all our devices if all of them can, else in the stack on
//! all of them. No driver passes frames on to a device without driver support (`__xdp_enqueue`,
//! kernel/bpf/devmap.c): they would vanish there, uncounted. The stack passes them on to any.

use std::collections::BTreeMap;

use aya::programs::{ProgramError, Xdp, XdpMode, xdp::XdpLinkId};

use super::error::Error;

/// How the program runs on a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mode {
    /// In the driver.
    Native,
    /// In the network stack: the driver's refusal, or why it was not asked to.
    Generic(String),
}

/// A device that the program is attached to, until the program is dropped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attachment {
    /// Its name.
    pub name: String,
    /// The kernel's number.
    pub ifindex: u32,
    /// How the program runs there.
    pub mode: Mode,
}

/// All devices that the program is attached to, by the kernel's number.
#[derive(Default)]
pub(super) struct Attachments(BTreeMap<u32, (Attachment, XdpLinkId)>);

impl Attachments {
    /// All of them.
    pub(super) fn list(&self) -> Vec<Attachment> {
        let all = self.0.values();
        all.map(|(attachment, _)| attachment.clone()).collect()
    }

    /// Attaches the program to those of `devices` (name and the kernel's number) that it is not attached to,
    /// to all or to none; returns those. The first ones decide where it runs.
    pub(super) fn add<'a>(
        &mut self,
        xdp: &mut Xdp,
        devices: impl IntoIterator<Item = (&'a str, u32)>,
    ) -> Result<Vec<Attachment>, Error> {
        let devices = devices.into_iter();
        let mut added = Self::default();
        let attached = match self.0.is_empty() {
            true => added.first(xdp, devices),
            false => devices
                .filter(|(_, ifindex)| !self.0.contains_key(ifindex))
                .try_for_each(|device| {
                    added.put(self.beside(xdp, device)?);
                    Ok(())
                }),
        };
        if let Err(error) = attached {
            added.remove_all_but(xdp, |_| false)?;
            return Err(error);
        }
        let list = added.list();
        self.0.append(&mut added.0);
        Ok(list)
    }

    /// Detaches the program from all devices but those that are wanted.
    pub(super) fn remove_all_but(
        &mut self,
        xdp: &mut Xdp,
        is_wanted: impl Fn(u32) -> bool,
    ) -> Result<(), Error> {
        for (_, (_, link)) in self.0.extract_if(.., |&ifindex, _| !is_wanted(ifindex)) {
            xdp.detach(link)?;
        }
        Ok(())
    }

    fn put(&mut self, (attachment, link): (Attachment, XdpLinkId)) {
        self.0.insert(attachment.ifindex, (attachment, link));
    }

    /// The first devices: in their drivers if all can.
    fn first<'a>(
        &mut self,
        xdp: &mut Xdp,
        devices: impl Iterator<Item = (&'a str, u32)>,
    ) -> Result<(), Error> {
        for device in devices {
            self.put(attach(xdp, device)?);
        }
        let is_generic =
            |(attachment, _): &&(Attachment, XdpLinkId)| attachment.mode != Mode::Native;
        let Some((generic, _)) = self.0.values().find(is_generic) else {
            return Ok(());
        };
        let reason = format!(
            "no driver passes packets on to {}, which has no driver support",
            generic.name
        );
        let native = |_: &u32, (attachment, _): &mut (Attachment, XdpLinkId)| {
            attachment.mode == Mode::Native
        };
        let native: Vec<_> = self.0.extract_if(.., native).collect();
        for (ifindex, (Attachment { name, .. }, link)) in native {
            xdp.detach(link)?;
            self.put(attach_to_stack(xdp, (&name, ifindex), reason.clone())?);
        }
        Ok(())
    }

    /// One more device, as the others are.
    fn beside(&self, xdp: &mut Xdp, device: (&str, u32)) -> Result<(Attachment, XdpLinkId), Error> {
        let is_native = |(attachment, _): &(Attachment, XdpLinkId)| attachment.mode == Mode::Native;
        if !self.0.values().all(is_native) {
            let reason = "the program runs in the stack on the other interfaces".to_owned();
            return attach_to_stack(xdp, device, reason);
        }
        let (name, ifindex) = device;
        match xdp.attach_to_if_index(ifindex, XdpMode::Driver) {
            Ok(link) => Ok((Attachment::new(device, Mode::Native), link)),
            Err(error) if is_busy(&error) => Err(Error::Busy { name: name.into() }),
            Err(error) => Err(Error::NoDriverSupport {
                name: name.into(),
                error: why(&error),
            }),
        }
    }
}

impl Attachment {
    fn new((name, ifindex): (&str, u32), mode: Mode) -> Self {
        let name = name.into();
        Self {
            name,
            ifindex,
            mode,
        }
    }
}

/// In the driver where that works, else in the stack.
fn attach(xdp: &mut Xdp, device: (&str, u32)) -> Result<(Attachment, XdpLinkId), Error> {
    let (name, ifindex) = device;
    match xdp.attach_to_if_index(ifindex, XdpMode::Driver) {
        Ok(link) => Ok((Attachment::new(device, Mode::Native), link)),
        Err(error) if is_busy(&error) => Err(Error::Busy { name: name.into() }),
        Err(error) => attach_to_stack(xdp, device, why(&error)),
    }
}

/// In the stack, for a reason.
fn attach_to_stack(
    xdp: &mut Xdp,
    device: (&str, u32),
    reason: String,
) -> Result<(Attachment, XdpLinkId), Error> {
    let (name, ifindex) = device;
    match xdp.attach_to_if_index(ifindex, XdpMode::Skb) {
        Ok(link) => Ok((Attachment::new(device, Mode::Generic(reason)), link)),
        Err(error) if is_busy(&error) => Err(Error::Busy { name: name.into() }),
        Err(error) => Err(Error::Attach {
            name: name.into(),
            native: reason,
            generic: why(&error),
        }),
    }
}

/// Another program holds the device.
fn is_busy(error: &ProgramError) -> bool {
    matches!(error, ProgramError::SyscallError(e) if e.io_error.raw_os_error() == Some(libc::EBUSY))
}

/// The kernel's own words.
fn why(error: &ProgramError) -> String {
    match error {
        ProgramError::SyscallError(e) => e.io_error.to_string(),
        other => other.to_string(),
    }
}
