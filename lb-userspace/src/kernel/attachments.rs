//! Where the packet program runs: in the drivers of all our devices if all of them can, else in the stack on
//! all of them. No driver passes frames on to a device without driver support (`__xdp_enqueue`,
//! kernel/bpf/devmap.c): they would vanish there, uncounted. The stack passes them on to any.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use aya::programs::{
    ProgramError, Xdp, XdpMode,
    links::{FdLink, LinkError, PinnedLink},
    xdp::{XdpLink, XdpLinkId},
};

use super::{
    error::Error,
    pins::{names, pinning},
};

/// How the program runs on a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mode {
    /// In the driver.
    Native,
    /// In the network stack: the driver's refusal, or why it was not asked to.
    Generic(String),
}

/// A device that the program is attached to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attachment {
    /// Its name.
    pub name: String,
    /// The kernel's number.
    pub ifindex: u32,
    /// How the program runs there.
    pub mode: Mode,
}

/// All devices that the program is attached to. Each attachment is pinned in a folder, and lasts as long as
/// the pin and the device.
pub(super) struct Attachments {
    folder: PathBuf,
    /// By the kernel's number.
    devices: BTreeMap<u32, Attachment>,
}

impl Attachments {
    /// Those that are pinned in a folder.
    pub(super) fn open(folder: PathBuf) -> Result<Self, Error> {
        let pins = names(&folder)?;
        let attachments = pins.iter().filter_map(|name| Attachment::of_pin(name));
        let devices = attachments.map(|a| (a.ifindex, a)).collect();
        Ok(Self { folder, devices })
    }

    /// All of them.
    pub(super) fn list(&self) -> Vec<Attachment> {
        self.devices.values().cloned().collect()
    }

    /// Has all devices run this program from now on: each goes over to it between two packets. Returns those
    /// that are no more: their attachments are forgotten.
    pub(super) fn hand_over(&mut self, xdp: &mut Xdp) -> Result<Vec<Attachment>, Error> {
        let mut gone = Vec::new();
        for attachment in self.list() {
            if !self.hand_over_one(xdp, &attachment)? {
                self.remove(&attachment)?;
                gone.push(attachment);
            }
        }
        Ok(gone)
    }

    /// Whether the device was there.
    fn hand_over_one(&self, xdp: &mut Xdp, attachment: &Attachment) -> Result<bool, Error> {
        let path = self.pin_of(attachment);
        let link = PinnedLink::from_pin(&path).map_err(|error| linking(&path, error))?;
        let link = XdpLink::try_from(FdLink::from(link)).map_err(|error| linking(&path, error))?;
        match xdp.attach_to_link(link) {
            // The pin holds it, and nothing else should.
            Ok(id) => xdp.take_link(id).map(drop)?,
            // The kernel's word for a link whose device is gone (`bpf_xdp_link_update`, net/core/dev.c).
            Err(error) if has_errno(&error, libc::ENOLINK) => return Ok(false),
            Err(error) => return Err(error.into()),
        }
        Ok(true)
    }

    /// Attaches the program to those of `devices` (name and the kernel's number) that it is not attached to,
    /// to all or to none; returns those. The first ones decide where it runs.
    pub(super) fn add<'a>(
        &mut self,
        xdp: &mut Xdp,
        devices: impl IntoIterator<Item = (&'a str, u32)>,
    ) -> Result<Vec<Attachment>, Error> {
        let devices = devices.into_iter();
        let mut added = Self {
            folder: self.folder.clone(),
            devices: BTreeMap::new(),
        };
        let attached = match self.devices.is_empty() {
            true => added.first(xdp, devices),
            false => devices
                .filter(|(_, ifindex)| !self.devices.contains_key(ifindex))
                .try_for_each(|device| {
                    let (attachment, link) = self.beside(xdp, device)?;
                    added.put(xdp, attachment, link)
                }),
        };
        if let Err(error) = attached {
            added.remove_all_but(|_| false)?;
            return Err(error);
        }
        let list = added.list();
        self.devices.append(&mut added.devices);
        Ok(list)
    }

    /// Attaches the program of probes to a device, as the others are. It is none of them.
    pub(super) fn probe(
        &self,
        xdp: &mut Xdp,
        device: (&str, u32),
    ) -> Result<ProbeAttachment, Error> {
        let (attachment, link) = self.beside(xdp, device)?;
        let link = Some(xdp.take_link(link)?);
        Ok(ProbeAttachment { attachment, link })
    }

    /// Detaches the program from all devices but those that are wanted.
    pub(super) fn remove_all_but(&mut self, is_wanted: impl Fn(u32) -> bool) -> Result<(), Error> {
        let unwanted = self.list().into_iter().filter(|a| !is_wanted(a.ifindex));
        unwanted.into_iter().try_for_each(|a| self.remove(&a))
    }

    fn remove(&mut self, attachment: &Attachment) -> Result<(), Error> {
        let path = self.pin_of(attachment);
        let link = PinnedLink::from_pin(&path).map_err(|error| linking(&path, error))?;
        // Only closing it waits until it is detached.
        let link = link.unpin().map_err(|error| pinning(&path, error))?;
        drop(link);
        self.devices.remove(&attachment.ifindex);
        Ok(())
    }

    fn put(&mut self, xdp: &mut Xdp, attachment: Attachment, link: XdpLinkId) -> Result<(), Error> {
        let path = self.pin_of(&attachment);
        let link = FdLink::try_from(xdp.take_link(link)?).map_err(|error| linking(&path, error))?;
        let pinned = link.pin(&path);
        pinned.map_err(|error| pinning(&path, error))?;
        self.devices.insert(attachment.ifindex, attachment);
        Ok(())
    }

    fn pin_of(&self, attachment: &Attachment) -> PathBuf {
        self.folder.join(attachment.pin())
    }

    /// The first devices: in their drivers if all can. Pinned once that is known, so that nobody goes on with
    /// what was not decided.
    fn first<'a>(
        &mut self,
        xdp: &mut Xdp,
        devices: impl Iterator<Item = (&'a str, u32)>,
    ) -> Result<(), Error> {
        let mut attached = Vec::new();
        let result = attach_alike(xdp, devices, &mut attached);
        let keep = |(attachment, link)| match &result {
            Ok(()) => self.put(xdp, attachment, link),
            Err(_) => Ok(xdp.detach(link)?),
        };
        let kept = attached.into_iter().try_for_each(keep);
        result.and(kept)
    }

    /// One more device, as the others are.
    fn beside(&self, xdp: &mut Xdp, device: (&str, u32)) -> Result<(Attachment, XdpLinkId), Error> {
        if self.devices.values().any(|a| a.mode != Mode::Native) {
            let reason = "the program runs in the stack on the other interfaces".to_owned();
            return attach_to_stack(xdp, device, reason);
        }
        let (name, ifindex) = device;
        match xdp.attach_to_if_index(ifindex, XdpMode::Driver) {
            Ok(link) => Ok((Attachment::new(device, Mode::Native), link)),
            Err(error) if has_errno(&error, libc::EBUSY) => Err(Error::Busy { name: name.into() }),
            Err(error) => Err(Error::NoDriverSupport {
                name: name.into(),
                error: why(&error),
            }),
        }
    }
}

/// Where the program of probes runs, for as long as this lasts.
pub(super) struct ProbeAttachment {
    attachment: Attachment,
    /// Absent if it could not be handed over.
    link: Option<XdpLink>,
}

impl ProbeAttachment {
    /// Where.
    pub(super) fn attachment(&self) -> &Attachment {
        &self.attachment
    }

    /// Has the device run this program from now on.
    pub(super) fn hand_over(&mut self, xdp: &mut Xdp) -> Result<(), Error> {
        let Some(link) = self.link.take() else {
            return Ok(());
        };
        let id = xdp.attach_to_link(link)?;
        self.link = Some(xdp.take_link(id)?);
        Ok(())
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

    /// The name of its pin: its number and how it runs.
    fn pin(&self) -> String {
        let mode = match self.mode {
            Mode::Native => NATIVE,
            Mode::Generic(_) => GENERIC,
        };
        format!("{}-{mode}", self.ifindex)
    }

    /// The attachment of a pin of this name. The device may be gone, or in another network namespace.
    fn of_pin(name: &str) -> Option<Self> {
        let (ifindex, mode) = name.split_once('-')?;
        let mode = match mode {
            NATIVE => Mode::Native,
            GENERIC => Mode::Generic("it did when this agent started".into()),
            _ => return None,
        };
        let ifindex = ifindex.parse().ok()?;
        let device = nix::net::if_::if_indextoname(ifindex);
        let name = device.map_or_else(
            |_| format!("interface {ifindex}"),
            |device| device.to_string_lossy().into_owned(),
        );
        Some(Self::new((&name, ifindex), mode))
    }
}

/// What pins of attachments in drivers end with.
const NATIVE: &str = "native";
/// What pins of attachments in the stack end with.
const GENERIC: &str = "generic";

/// That an attachment at a path can't be used.
fn linking(path: &Path, error: LinkError) -> Error {
    pinning(path, error)
}

/// In the drivers of all of them if that works, else in the stack on all.
fn attach_alike<'a>(
    xdp: &mut Xdp,
    devices: impl Iterator<Item = (&'a str, u32)>,
    attached: &mut Vec<(Attachment, XdpLinkId)>,
) -> Result<(), Error> {
    for device in devices {
        attached.push(attach(xdp, device)?);
    }
    let is_native = |attachment: &Attachment| attachment.mode == Mode::Native;
    let Some((generic, _)) = attached.iter().find(|(a, _)| !is_native(a)) else {
        return Ok(());
    };
    let reason = format!(
        "no driver passes packets on to {}, which has no driver support",
        generic.name
    );
    let native: Vec<_> = attached.extract_if(.., |(a, _)| is_native(a)).collect();
    for (Attachment { name, ifindex, .. }, link) in native {
        xdp.detach(link)?;
        attached.push(attach_to_stack(xdp, (&name, ifindex), reason.clone())?);
    }
    Ok(())
}

/// In the driver where that works, else in the stack.
fn attach(xdp: &mut Xdp, device: (&str, u32)) -> Result<(Attachment, XdpLinkId), Error> {
    let (name, ifindex) = device;
    match xdp.attach_to_if_index(ifindex, XdpMode::Driver) {
        Ok(link) => Ok((Attachment::new(device, Mode::Native), link)),
        Err(error) if has_errno(&error, libc::EBUSY) => Err(Error::Busy { name: name.into() }),
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
        Err(error) if has_errno(&error, libc::EBUSY) => Err(Error::Busy { name: name.into() }),
        Err(error) => Err(Error::Attach {
            name: name.into(),
            native: reason,
            generic: why(&error),
        }),
    }
}

/// Whether that is what the kernel answered.
fn has_errno(error: &ProgramError, errno: i32) -> bool {
    matches!(error, ProgramError::SyscallError(e) if e.io_error.raw_os_error() == Some(errno))
}

/// The kernel's own words.
fn why(error: &ProgramError) -> String {
    match error {
        ProgramError::SyscallError(e) => e.io_error.to_string(),
        other => other.to_string(),
    }
}
