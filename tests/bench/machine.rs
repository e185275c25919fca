//! The facts about the machine that a reader of the results needs, and how busy it is beside the run.

use std::{fs, io, process::Command, thread, time::Duration};

use anyhow::Context as _;

/// How long the machine is observed before and after a case, while the run itself sleeps.
const LOOK: Duration = Duration::from_secs(1);

/// From this share of the processors' time on, other programs distort the figures. In percent.
const LOADED: u32 = 10;

/// The kernel, the processors, pcscd and the commit, in one sentence. It names no host.
///
/// # Errors
/// The system does not tell.
pub(crate) fn description() -> anyhow::Result<String> {
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").context("cannot read the kernel's release")?;
    // "6.1.0-13-cloud-amd64": what comes behind the number names the machine's provider.
    let kernel = kernel.trim().split('-').next().unwrap_or_default();
    let processors = thread::available_parallelism()?;
    Ok(format!(
        "{processors} processors ({}), Linux {kernel}, pcscd {}, commit {}",
        model(&fs::read_to_string("/proc/cpuinfo").unwrap_or_default()),
        pcscd_version().as_deref().unwrap_or("unknown"),
        commit().as_deref().unwrap_or("unknown"),
    ))
}

/// The model of the first processor in `/proc/cpuinfo`.
fn model(information: &str) -> &str {
    let line = information.lines().find_map(|line| line.strip_prefix("model name"));
    line.map_or("unknown model", |line| line.trim_start_matches([' ', '\t', ':']))
}

/// The version that pcscd prints, "1.9.9".
fn pcscd_version() -> Option<String> {
    let output = Command::new("pcscd").arg("--version").output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    text.split_whitespace().nth(2).map(|version| version.trim_end_matches(['.', ',']).to_owned())
}

/// The commit of the sources, with a mark if they have been changed since.
fn commit() -> Option<String> {
    let git = |arguments: &[&str]| -> Option<String> {
        let output = Command::new("git").arg("-C").arg(env!("CARGO_MANIFEST_DIR")).args(arguments).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let commit = git(&["rev-parse", "--short=12", "HEAD"])?;
    // The document of the last run is no source.
    let changed = git(&["status", "--porcelain", "--untracked-files=no", "--", ":/", ":!/docs/benchmarks.md"])?;
    Some(if changed.is_empty() { commit } else { format!("{commit} with changes") })
}

/// The share of the processors' time that other programs use now, in percent, if it is too much for good figures. The
/// run itself must sleep.
///
/// # Errors
/// The system does not tell.
pub(crate) fn load() -> anyhow::Result<Option<u32>> {
    let look = || Times::parse(&fs::read_to_string("/proc/stat")?).ok_or_else(|| io::Error::other("/proc/stat"));
    let before = look()?;
    thread::sleep(LOOK);
    Ok(Some(busy(before, look()?)).filter(|busy| *busy >= LOADED))
}

/// The time of all processors since the machine's start, in clock ticks.
#[derive(Clone, Copy)]
struct Times {
    idle: u64,
    all: u64,
}

impl Times {
    /// Reads the first line of `/proc/stat`: user, nice, system, idle, iowait, irq, softirq, steal.
    fn parse(stat: &str) -> Option<Self> {
        let numbers = stat.lines().next()?.strip_prefix("cpu ")?.split_whitespace().take(8);
        let numbers: Vec<u64> = numbers.map(|number| number.parse().ok()).collect::<Option<_>>()?;
        Some(Self { idle: numbers.get(3)? + numbers.get(4)?, all: numbers.iter().sum() })
    }
}

/// The share of the time between two looks in which the processors were not idle, in percent.
fn busy(before: Times, after: Times) -> u32 {
    let all = after.all.saturating_sub(before.all);
    let idle = after.idle.saturating_sub(before.idle).min(all);
    u32::try_from(100 * (all - idle) / all.max(1)).unwrap_or(100)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_load_is_the_time_that_is_not_idle() {
        let times = |line: &str| Times::parse(line);
        let (Some(before), Some(after)) =
            (times("cpu  10 0 10 100 5 0 0 0 7 7\n"), times("cpu  20 0 20 170 15 0 0 0 9 9\ncpu0 1 2"))
        else {
            unreachable!("both are complete")
        };
        assert_eq!((busy(before, after), busy(before, before)), (20, 0));
        assert!(times("").is_none() && times("cpu 1 2 x 4 5 6 7 8").is_none() && times("cpu  1 2 3").is_none());
    }

    #[test]
    fn a_processor_is_named_by_its_model() {
        assert_eq!(model("processor\t: 0\nmodel name\t: AMD EPYC\nmodel name\t: other\n"), "AMD EPYC");
        assert_eq!(model(""), "unknown model");
    }
}
