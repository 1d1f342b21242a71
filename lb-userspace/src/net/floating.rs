//! Takes and gives up addresses that move between hosts, and finds those that an agent before left behind.

use super::{
    error::Error,
    netlink::{Kernel, floating},
    resolution::IfIndex,
};
use crate::model::VirtualAddress;

/// The addresses that move, in the network namespace of the thread that opened it.
pub struct FloatingAddresses {
    kernel: Kernel,
}

impl FloatingAddresses {
    /// Opens a connection to the kernel. Needs a tokio runtime.
    pub fn open() -> Result<Self, Error> {
        let kernel = Kernel::open()?;
        Ok(Self { kernel })
    }

    /// Those of us that this host has.
    pub async fn held(&self) -> Result<Vec<(IfIndex, VirtualAddress)>, Error> {
        self.kernel.marked_addresses().await
    }

    /// Gives one to a device. Whether it was not there before.
    pub async fn take(&self, device: IfIndex, address: VirtualAddress) -> Result<bool, Error> {
        let what = format!("taking {address} on device {device}");
        let taken = self.kernel.make(floating::taken(device, address), &what);
        match taken.await {
            Err(error) if error.errno() == Some(libc::EEXIST) => Ok(false),
            taken => taken.map(|()| true),
        }
    }

    /// Takes one from a device. That it is not there any more is as good.
    pub async fn give_up(&self, device: IfIndex, address: VirtualAddress) -> Result<(), Error> {
        let what = format!("giving {address} up on device {device}");
        let gone = self
            .kernel
            .remove(floating::given_up(device, address), &what);
        match gone.await {
            Err(error) if matches!(error.errno(), Some(libc::EADDRNOTAVAIL | libc::ENODEV)) => {
                Ok(())
            }
            gone => gone,
        }
    }
}
