//! Watches this host's devices: whether they are up and have a carrier, and which addresses they have. Every change is
//! read anew; it judges nothing.

use std::{collections::BTreeMap, net::IpAddr, path::Path, sync::Arc, time::Duration};

use tokio::{sync::watch, task::JoinHandle, time::sleep};
use tracing::{debug, warn};

use super::{
    error::Error,
    facts::Event,
    netlink::{Kernel, Netlink},
    resolution::{IfIndex, Mac},
    sysctl,
};

/// How long events are gathered before everything is read: less than adverts are apart.
const GATHER: Duration = Duration::from_millis(2);

/// Pause before a failed reading is tried again.
const BACKOFF: Duration = Duration::from_secs(1);

/// A device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// Its index.
    pub index: IfIndex,
    /// Its Ethernet address.
    pub mac: Option<Mac>,
    /// Whether it is administratively up.
    pub up: bool,
    /// Whether it has a carrier.
    pub carrier: bool,
    /// Its addresses, with the lengths of their prefixes.
    pub addresses: Vec<(IpAddr, u8)>,
}

/// All devices, by name.
pub type Devices = Arc<BTreeMap<String, Device>>;

/// The watch, for as long as it lasts.
#[derive(Debug)]
pub struct DeviceWatch {
    devices: watch::Receiver<Devices>,
    task: JoinHandle<()>,
}

impl DeviceWatch {
    /// Reads them, and watches them from then on. Needs a tokio runtime.
    pub async fn start() -> Result<Self, Error> {
        let kernel = Kernel::listen()?;
        let (told, devices) = watch::channel(read(&kernel).await?);
        let task = tokio::spawn(follow(kernel, told));
        Ok(Self { devices, task })
    }

    /// What they are, and every change of that.
    pub fn devices(&self) -> watch::Receiver<Devices> {
        self.devices.clone()
    }
}

impl Drop for DeviceWatch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Whether this host forwards packets of IPv6 that come in by a device; not, if that can't be read.
pub fn forwards_ipv6(device: &str) -> bool {
    let setting = sysctl::forwarding(Path::new(sysctl::ROOT), "ipv6", device);
    setting.ok().flatten().unwrap_or(false)
}

async fn follow(mut kernel: Kernel, told: watch::Sender<Devices>) {
    loop {
        let concerns = match kernel.event().await {
            Ok(event) => concerns(&event),
            Err(error) => {
                warn!("{error}; the devices are read again");
                sleep(BACKOFF).await;
                if let Err(error) = kernel.reopen() {
                    debug!("{error}");
                }
                true
            }
        };
        if !concerns {
            continue;
        }
        sleep(GATHER).await;
        match read(&kernel).await {
            Ok(devices) => told.send_if_modified(|held| {
                let differs = *held != devices;
                *held = devices;
                differs
            }),
            Err(error) => {
                warn!("{error}; the devices stay as they were until the next change");
                false
            }
        };
    }
}

fn concerns(event: &Event) -> bool {
    match event {
        Event::Link(..) | Event::LinkGone(_) | Event::Address | Event::Overrun => true,
        Event::Neighbour(..) | Event::NeighbourGone(_) | Event::Route(_) | Event::Rule => false,
    }
}

async fn read(kernel: &Kernel) -> Result<Devices, Error> {
    let addresses = kernel.addresses().await?;
    let links = kernel.links().await?;
    let devices = links.into_iter().map(|(index, link)| {
        let own = addresses.iter().filter(|address| address.device == index);
        let device = Device {
            index,
            mac: link.mac,
            up: link.up,
            carrier: link.carrier,
            addresses: own.map(|own| (own.address, own.prefix)).collect(),
        };
        (link.name, device)
    });
    Ok(Arc::new(devices.collect()))
}
