//! Decides which changes of an instance its hook is told of, one at a time and in their order: what comes while one is
//! told waits, and where too much does, the oldest is skipped. The last one is always told. Pure.

use std::collections::VecDeque;

use super::{super::machine::Role, call::Call};

/// Calls that may wait.
const MOST: usize = 8;

/// The calls of one instance's hook.
#[derive(Debug, Default)]
pub(super) struct Queue {
    /// The instance's role, when its families last agreed.
    role: Option<Role>,
    waiting: VecDeque<Call>,
    runs: bool,
}

impl Queue {
    /// Takes note of what an instance is; whether that is another role than it had.
    pub(super) fn becomes(&mut self, role: Role) -> bool {
        self.role.replace(role) != Some(role)
    }

    /// Has a call wait for its turn. How many are skipped for it.
    pub(super) fn push(&mut self, call: Call) -> u64 {
        self.waiting.push_back(call);
        self.keep(MOST)
    }

    /// Has all but the last of those that wait skipped. How many these are.
    pub(super) fn hurry(&mut self) -> u64 {
        self.keep(1)
    }

    /// The next call, unless one is under way. It is then, until it has ended.
    pub(super) fn next(&mut self) -> Option<Call> {
        if self.runs {
            return None;
        }
        let next = self.waiting.pop_front();
        self.runs = next.is_some();
        next
    }

    /// The call under way has ended.
    pub(super) fn ended(&mut self) {
        self.runs = false;
    }

    /// Whether calls wait.
    pub(super) fn waits(&self) -> bool {
        !self.waiting.is_empty()
    }

    fn keep(&mut self, most: usize) -> u64 {
        let skipped = self.waiting.len().saturating_sub(most);
        self.waiting.drain(..skipped).map(|_| 1).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vrrp::hooks::testing::call;

    #[test]
    fn one_at_a_time_in_order() {
        let mut queue = Queue::default();
        assert_eq!(queue.next(), None);
        for n in 1..=3 {
            assert_eq!(queue.push(call(n)), 0);
        }
        assert_eq!(queue.next(), Some(call(1)));
        assert_eq!(queue.next(), None);
        queue.ended();
        assert_eq!(queue.next(), Some(call(2)));
        assert!(queue.waits());
        queue.ended();
        assert_eq!(queue.next(), Some(call(3)));
        queue.ended();
        assert_eq!(queue.next(), None);
        assert!(!queue.waits());
    }

    #[test]
    fn the_last_is_told_whatever_is_skipped() {
        let mut queue = Queue::default();
        let skipped: u64 = (1..=20).map(|n| queue.push(call(n))).sum();
        assert_eq!(skipped, 12);
        assert_eq!(queue.next(), Some(call(13)));
        queue.ended();
        assert_eq!(queue.hurry(), 6);
        assert_eq!(queue.hurry(), 0);
        assert_eq!(queue.next(), Some(call(20)));
    }

    #[test]
    fn the_same_role_is_none_that_changed() {
        let mut queue = Queue::default();
        let roles = [Role::Backup, Role::Master, Role::Master, Role::Fault];
        let changed = roles.map(|role| queue.becomes(role));
        assert_eq!(changed, [true, true, false, true]);
    }
}
