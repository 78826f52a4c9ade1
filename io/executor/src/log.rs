//! The executor's own log: lines on standard error, which is the task's `stderr` file as well.
//!
//! Thousands of these processes run on one machine, so there is no subscriber, filter or buffer.

use std::fmt;
use std::io::{self, Write};
use std::time::{SystemTime, UNIX_EPOCH};

/// Days from 0000-03-01 to 1970-01-01 in the Gregorian calendar.
const DAYS_BEFORE_UNIX: u64 = 719_468;

const SECONDS_PER_DAY: u64 = 86_400;

/// Names the least severe lines to write: `INFO`, which is the default, or anything else for
/// warnings and errors alone.
const LEVEL_VARIABLE: &str = "MESETA_EXECUTOR_LOG_LEVEL";

/// Something happened as it should.
pub(crate) fn info(text: fmt::Arguments<'_>) {
    if std::env::var_os(LEVEL_VARIABLE).is_none_or(|level| level == "INFO") {
        write('I', text);
    }
}

/// Something went wrong that the executor copes with.
pub(crate) fn warning(text: fmt::Arguments<'_>) {
    write('W', text);
}

/// Something went wrong for good.
pub(crate) fn error(text: fmt::Arguments<'_>) {
    write('E', text);
}

/// Severity, month and day, time (UTC) and process, as readers of a sandbox know it from Mesos.
fn write(severity: char, text: fmt::Arguments<'_>) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let seconds = now.as_secs();
    let (month, day) = month_and_day(seconds / SECONDS_PER_DAY);
    let (hours, minutes) = (seconds % SECONDS_PER_DAY / 3600, seconds % 3600 / 60);
    let line = format!(
        "{severity}{month:02}{day:02} {hours:02}:{minutes:02}:{:02}.{:06} {} executor] {text}\n",
        seconds % 60,
        now.subsec_micros(),
        std::process::id(),
    );
    // A sandbox on a full disk is no reason to stop.
    let _ = io::stderr().lock().write_all(line.as_bytes());
}

/// From days since 1970 (Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms").
fn month_and_day(days: u64) -> (u64, u64) {
    let day_of_era = (days + DAYS_BEFORE_UNIX) % 146_097;
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    (if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 }, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_right_around_leap_days() {
        // 1970-01-01, 1972-02-29, 2000-02-29, 2024-12-31, 2100-02-28, 2100-03-01.
        let days = [0, 789, 11_016, 20_088, 47_540, 47_541];
        let expected = [(1, 1), (2, 29), (2, 29), (12, 31), (2, 28), (3, 1)];
        assert_eq!(days.map(month_and_day), expected);
    }
}
