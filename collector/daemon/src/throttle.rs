//! Holds back log lines that a stranger could cause without end.

use std::sync::Mutex;
use std::time::{Duration, Instant};

/// Lets one line through in each span, and knows how many it held back before it.
#[derive(Debug)]
pub(crate) struct Throttle {
    span: Duration,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    last: Option<Instant>,
    held_back: u64,
}

impl Throttle {
    /// Returns a throttle.
    pub(crate) fn new(span: Duration) -> Self {
        Self { span, state: Mutex::default() }
    }

    /// Returns how many lines were held back before this one, or nothing if it is to be held back
    /// itself.
    pub(crate) fn pass(&self, now: Instant) -> Option<u64> {
        let mut state = self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if state.last.is_some_and(|last| now.saturating_duration_since(last) < self.span) {
            state.held_back += 1;
            return None;
        }
        state.last = Some(now);
        Some(std::mem::take(&mut state.held_back))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_a_span_and_the_rest_are_counted() {
        let throttle = Throttle::new(Duration::from_secs(1));
        let begin = Instant::now();
        assert_eq!(throttle.pass(begin), Some(0));
        assert_eq!(throttle.pass(begin + Duration::from_millis(1)), None);
        assert_eq!(throttle.pass(begin + Duration::from_millis(999)), None);
        assert_eq!(throttle.pass(begin + Duration::from_secs(1)), Some(2));
    }
}
