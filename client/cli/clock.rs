//! Times: local ones for people, RFC 3339 for programs.

use std::time::{Duration, SystemTime};

use jiff::{Timestamp, Zoned, tz::TimeZone};

/// The year 10,000, which RFC 3339 cannot represent, in seconds since 1970.
const YEAR_10000: u64 = 253_402_300_800;

/// A moment and a time zone, in which other moments are shown.
#[derive(Debug, Clone)]
pub(crate) struct Clock {
    now: SystemTime,
    zone: TimeZone,
}

impl Clock {
    /// Takes a moment of the broker's clock, or this machine's if there is none, and the system's time zone (`TZ`).
    pub(crate) fn at(now: Option<SystemTime>) -> Self {
        Self { now: now.unwrap_or_else(SystemTime::now), zone: TimeZone::system() }
    }

    /// Takes a moment and UTC.
    #[cfg(test)]
    pub(crate) fn utc(now: SystemTime) -> Self {
        Self { now, zone: TimeZone::UTC }
    }

    /// The local time: `14:02:10`, with the date unless it is today.
    pub(crate) fn local(&self, time: SystemTime) -> String {
        let (Some(then), Some(now)) = (self.zoned(time), self.zoned(self.now)) else { return "unknown".to_owned() };
        let format = if then.date() == now.date() { "%H:%M:%S" } else { "%Y-%m-%d %H:%M:%S" };
        then.strftime(format).to_string()
    }

    /// The local time of day with milliseconds: `14:02:10.123`.
    pub(crate) fn local_millis(&self, time: SystemTime) -> String {
        self.zoned(time).map_or("unknown".to_owned(), |then| then.strftime("%H:%M:%S%.3f").to_string())
    }

    /// How long ago it was; zero if it is to come.
    pub(crate) fn since(&self, time: SystemTime) -> Duration {
        self.now.duration_since(time).unwrap_or_default()
    }

    /// How long until then; zero if it has passed.
    pub(crate) fn until(&self, time: SystemTime) -> Duration {
        time.duration_since(self.now).unwrap_or_default()
    }

    fn zoned(&self, time: SystemTime) -> Option<Zoned> {
        Some(Timestamp::try_from(time).ok()?.to_zoned(self.zone.clone()))
    }
}

/// A duration for people: `250 ms`, `10 s`, `2 min`, `3 h`, `5 days`.
pub(crate) fn rough(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0 if !duration.is_zero() => format!("{} ms", duration.as_millis().max(1)),
        0..=119 => format!("{seconds} s"),
        120..=7199 => format!("{} min", seconds / 60),
        7200..=172_799 => format!("{} h", seconds / 3600),
        _ => format!("{} days", seconds / 86400),
    }
}

/// The time in RFC 3339 with seconds; `None` if that cannot represent it.
pub(crate) fn rfc3339_seconds(time: SystemTime) -> Option<String> {
    Some(humantime::format_rfc3339_seconds(sane(time)?).to_string())
}

/// The time in RFC 3339 with milliseconds; `None` if that cannot represent it.
pub(crate) fn rfc3339(time: SystemTime) -> Option<String> {
    Some(humantime::format_rfc3339_millis(sane(time)?).to_string())
}

/// The time in RFC 3339 with microseconds; `None` if that cannot represent it.
pub(crate) fn rfc3339_micros(time: SystemTime) -> Option<String> {
    Some(humantime::format_rfc3339_micros(sane(time)?).to_string())
}

fn sane(time: SystemTime) -> Option<SystemTime> {
    let year_10000 = Duration::from_secs(YEAR_10000);
    time.duration_since(SystemTime::UNIX_EPOCH).is_ok_and(|since| since < year_10000).then_some(time)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_secs(86400);

    fn noon() -> SystemTime {
        SystemTime::UNIX_EPOCH + 20_000 * DAY + DAY / 2
    }

    #[test]
    fn a_local_time_has_a_date_on_another_day() {
        let clock = Clock::utc(noon());
        assert_eq!(clock.local(noon() - Duration::from_secs(61)), "11:58:59");
        assert_eq!(clock.local(noon() - DAY), "2024-10-03 12:00:00");
        assert_eq!(clock.local_millis(noon() + Duration::from_millis(7)), "12:00:00.007");
        assert_eq!((clock.since(noon() + DAY), clock.until(noon() + DAY)), (Duration::ZERO, DAY));
    }

    #[test]
    fn a_duration_has_one_unit() {
        let told = [0, 250, 1000, 119_999, 120_000, 7_200_000, 172_800_000].map(Duration::from_millis).map(rough);
        assert_eq!(told, ["0 s", "250 ms", "1 s", "119 s", "2 min", "2 h", "2 days"]);
    }

    #[test]
    fn a_time_that_no_calendar_has_is_absent() {
        assert_eq!(rfc3339(noon()).unwrap(), "2024-10-04T12:00:00.000Z");
        assert_eq!(rfc3339(SystemTime::UNIX_EPOCH - DAY), None);
        assert_eq!(rfc3339(SystemTime::UNIX_EPOCH + Duration::from_secs(YEAR_10000)), None);
    }
}
