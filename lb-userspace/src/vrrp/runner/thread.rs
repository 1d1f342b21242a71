//! The thread that instances run on: it does nothing else, and comes before what else this host does, where it may. An advert
//! that is late by two intervals has another host take over.

use std::{io, thread};

use tokio::{
    runtime::{Builder, Handle},
    sync::oneshot,
    task::JoinHandle,
};
use tracing::{debug, warn};

/// The lowest of the priorities that come before all ordinary threads (sched(7)): threads of the kernel that forward packets
/// or write to disks are not to wait for it.
const PRIORITY: i32 = 1;

/// A thread with a runtime, which ends with this.
pub(super) struct Thread {
    runtime: Handle,
    /// Ends it when dropped.
    _end: oneshot::Sender<()>,
}

impl Thread {
    /// Starts it.
    pub(super) fn start() -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let (end, ended) = oneshot::channel::<()>();
        let thread = thread::Builder::new().name("vrrp".to_owned());
        thread.spawn(move || {
            come_first();
            // Nothing is sent: it ends once nobody could.
            drop(runtime.block_on(ended));
        })?;
        Ok(Self {
            runtime: handle,
            _end: end,
        })
    }

    /// Runs a task on it.
    pub(super) fn spawn<T: Send + 'static>(
        &self,
        task: impl Future<Output = T> + Send + 'static,
    ) -> JoinHandle<T> {
        self.runtime.spawn(task)
    }
}

/// Has the kernel run the thread that this is called on before ordinary ones. Threads that it starts are ordinary.
fn come_first() {
    let policy = libc::SCHED_RR | libc::SCHED_RESET_ON_FORK;
    let parameters = libc::sched_param {
        sched_priority: PRIORITY,
    };
    // SAFETY: the pointer is to a live sched_param, which the kernel reads; 0 means the calling thread.
    let result = unsafe { libc::sched_setscheduler(0, policy, &raw const parameters) };
    match result {
        0 => debug!("VRRP runs at real-time priority {PRIORITY}"),
        _ => {
            let error = io::Error::last_os_error();
            warn!(
                "VRRP runs without real-time priority: {error}; adverts may be late while this host does much else"
            );
        }
    }
}
