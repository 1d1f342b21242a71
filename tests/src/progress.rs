//! What a run is doing, live: a bar on a terminal, plain lines elsewhere.

use std::{
    io::{IsTerminal, stdout},
    sync::atomic::{AtomicU64, Ordering},
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Shows steps, and requests as they are answered.
pub struct Progress {
    bar: ProgressBar,
    terminal: bool,
    failures: AtomicU64,
}

impl Progress {
    /// On stdout.
    pub fn new() -> Self {
        // Drawn from `start` on.
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden());
        if let Ok(style) = ProgressStyle::with_template("  {pos}/{len} [{bar:40}] {elapsed}, {msg}")
        {
            bar.set_style(style.progress_chars("=> "));
        }
        Self {
            bar,
            terminal: stdout().is_terminal(),
            failures: AtomicU64::new(0),
        }
    }

    /// A step begins.
    pub fn step(&self, what: &str) {
        println!("· {what}");
    }

    /// `total` requests will be sent.
    pub fn start(&self, total: u32) {
        self.failures.store(0, Ordering::Relaxed);
        self.bar.reset();
        self.bar.set_length(u64::from(total));
        self.bar.set_message("no failures");
        if self.terminal {
            self.bar.set_draw_target(ProgressDrawTarget::stdout());
        }
    }

    /// One was answered, rightly or not.
    pub fn advance(&self, right: bool) {
        if !right {
            let failures = self.failures.fetch_add(1, Ordering::Relaxed) + 1;
            self.bar.set_message(format!("{failures} failures"));
        }
        self.bar.inc(1);
        let (done, total) = (self.bar.position(), self.bar.length().unwrap_or(0));
        if !self.terminal && done.is_multiple_of((total / 10).max(1)) {
            println!("  {done} of {total} requests, {}", self.bar.message());
        }
    }

    /// No more will come.
    pub fn finish(&self) {
        self.bar.abandon();
    }
}

impl Default for Progress {
    fn default() -> Self {
        Self::new()
    }
}
