//! When to try again, and how long to wait before.

use crate::http::HttpError;
use std::time::{Duration, SystemTime};

const FIRST_WAIT: Duration = Duration::from_millis(500);
const LONGEST_WAIT: Duration = Duration::from_secs(30);
/// A server that asks for a longer pause is not waited for; the user is told.
const LONGEST_PAUSE: u64 = 120;

/// Counts failures in a row.
#[derive(Debug)]
pub(crate) struct Retries {
    allowed: u32,
    failures: u32,
}

impl Retries {
    /// Allows `allowed` failures in a row to be followed by another try.
    pub(crate) fn new(allowed: u32) -> Self {
        Self {
            allowed,
            failures: 0,
        }
    }

    /// Something was achieved: failures count from 0 again.
    pub(crate) fn progress(&mut self) {
        self.failures = 0;
    }

    /// Counts a failure. If another try is worth it, waits as long as is polite and gives `true`.
    pub(crate) fn wait(&mut self, error: &HttpError) -> bool {
        let Some(pause) = self.next(error) else {
            return false;
        };
        std::thread::sleep(pause);
        true
    }

    fn next(&mut self, error: &HttpError) -> Option<Duration> {
        self.failures += 1;
        if !error.is_passing() || self.failures > self.allowed {
            return None;
        }
        let asked = match error {
            HttpError::Status(status) => status.retry_after.unwrap_or(0),
            _ => 0,
        };
        if asked > LONGEST_PAUSE {
            return None;
        }
        let doubled = FIRST_WAIT
            .saturating_mul(1 << (self.failures - 1).min(16))
            .min(LONGEST_WAIT);
        // Some chance, so that many machines do not come back all at once.
        let now = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        let chance = doubled.mul_f64(f64::from(now.subsec_micros() % 1000) / 4000.0);
        Some(doubled.max(Duration::from_secs(asked)) + chance)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::Status;

    fn dropped() -> HttpError {
        HttpError::Connection {
            host: "h".into(),
            why: "gone".into(),
            absent: false,
            again: true,
        }
    }

    fn status(code: u16, retry_after: Option<u64>) -> HttpError {
        HttpError::Status(Status {
            code,
            host: "h".into(),
            from_hub: true,
            error_code: String::new(),
            message: String::new(),
            retry_after,
        })
    }

    #[test]
    fn waits_double_up_to_a_bound() {
        let mut retries = Retries::new(20);
        let waits: Vec<_> = (0..20)
            .map(|_| retries.next(&dropped()).unwrap().as_secs_f64())
            .collect();
        for (wait, expected) in waits
            .iter()
            .zip([0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0])
        {
            assert!(
                (expected..=expected * 1.25).contains(wait),
                "{wait} for {expected}"
            );
        }
        assert!(waits[19] <= 37.5);
        assert_eq!(retries.next(&dropped()), None);
        retries.progress();
        assert!(retries.next(&dropped()).is_some());
    }

    #[test]
    fn only_passing_failures_are_retried() {
        let retried = |error: &HttpError| Retries::new(5).next(error).is_some();
        for code in [408, 429, 500, 502, 503, 504] {
            assert!(retried(&status(code, None)), "{code}");
        }
        for code in [400, 401, 403, 404, 416] {
            assert!(!retried(&status(code, None)), "{code}");
        }
        assert!(!retried(&HttpError::Redirect(String::new())));
    }

    #[test]
    fn a_server_may_ask_for_a_pause() {
        let pause = Retries::new(5).next(&status(429, Some(3))).unwrap();
        assert!(
            pause >= Duration::from_secs(3) && pause < Duration::from_secs(4),
            "{pause:?}"
        );
        assert_eq!(Retries::new(5).next(&status(429, Some(3600))), None);
    }
}
