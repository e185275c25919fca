//! The command line of the service: the flags that `service install` was given. Pure.

use std::{ffi::OsString, path::Path};

use clap::ValueEnum;

use crate::process::flags::Flags;

/// The arguments of the service's process. Paths become absolute by `absolute`, because the service starts in another
/// folder.
pub(super) fn launch_arguments(flags: &Flags, absolute: impl Fn(&Path) -> OsString) -> Vec<OsString> {
    let path = |path: &Option<std::path::PathBuf>| path.as_deref().map(&absolute);
    let text = |text: String| OsString::from(text);
    let given = [
        ("--config", path(&flags.config)),
        ("--socket", path(&flags.socket)),
        ("--tcp", flags.tcp.map(|port| text(port.to_string()))),
        ("--tokens", path(&flags.tokens)),
        ("--simulate", flags.simulate.map(|count| text(count.to_string()))),
        ("--simulate-from", path(&flags.simulate_from)),
        ("--log", flags.log.as_ref().map(|filter| text(filter.as_str().to_owned()))),
        ("--log-format", flags.log_format.and_then(|chosen| Some(chosen.to_possible_value()?.get_name().into()))),
        ("--grace", flags.grace.map(|grace| text(humantime::format_duration(grace).to_string()))),
    ];
    let given = given.into_iter().filter_map(|(name, value)| Some([OsString::from(name), value?]));
    given.flatten().chain(["service".into(), "run".into()]).collect()
}

/// The tokens file of the service: the flag's, or else that of the settings. A configuration that names none has the
/// default of the user who installs the service, `of_user`; the service has its own, `of_service`.
pub(super) fn tokens_file<'a>(
    flag: Option<&'a Path>,
    settings: Option<&'a Path>,
    of_user: &Path,
    of_service: &'a Path,
) -> &'a Path {
    flag.or(settings.filter(|file| *file != of_user)).unwrap_or(of_service)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    fn launched(arguments: &[&str]) -> Vec<OsString> {
        let flags = Flags::try_parse_from([&["cardbrokerd"], arguments].concat()).unwrap();
        launch_arguments(
            &flags,
            |path| if path.is_absolute() { path.into() } else { Path::new("/made").join(path).into() },
        )
    }

    #[test]
    fn the_service_runs_without_flags_by_default() {
        assert_eq!(launched(&[]), ["service", "run"]);
    }

    #[test]
    fn a_relative_configuration_is_that_of_the_folder_of_the_command() {
        assert_eq!(
            launched(&["--config", "c.toml"])[..2],
            [OsString::from("--config"), Path::new("/made").join("c.toml").into()]
        );
    }

    #[test]
    fn every_flag_of_the_daemon_is_kept() {
        let given = [
            ["--config", "/c.toml"],
            ["--socket", "/s"],
            ["--tcp", "auto"],
            ["--tokens", "/t"],
            ["--simulate", "2"],
            ["--log", "debug,h2=info"],
            ["--log-format", "json"],
            ["--grace", "1m 30s"],
        ];
        let launched = launched(&given.concat());
        let told: Vec<_> = launched.iter().map(|argument| argument.to_str().unwrap()).collect();
        // On Windows such a path has a drive.
        if cfg!(unix) {
            assert_eq!(told, [&given.concat()[..], &["service", "run"]].concat());
        }
        assert_eq!(told.len(), 2 * given.len() + 2);
        // A new flag of the daemon must be added to the list.
        let all = <Flags as clap::CommandFactory>::command();
        let not_for_a_service = ["check_config", "print_example_config", "help", "version"];
        let for_a_service =
            all.get_arguments().filter(|argument| !not_for_a_service.contains(&argument.get_id().as_str()));
        assert_eq!(for_a_service.count(), given.len() + 1, "with --simulate-from, which excludes --simulate");
    }

    #[test]
    fn only_a_default_of_the_user_is_not_the_tokens_file_of_the_service() {
        let chosen = |flag: Option<&'static str>, settings: Option<&'static str>| {
            let [flag, settings] = [flag, settings].map(|file| file.map(Path::new));
            tokens_file(flag, settings, Path::new("/user"), Path::new("/service")).to_str().unwrap()
        };
        assert_eq!(chosen(None, None), "/service", "no configuration");
        assert_eq!(chosen(None, Some("/user")), "/service", "a configuration that names none");
        assert_eq!(chosen(None, Some("/named")), "/named");
        assert_eq!(chosen(Some("/flag"), None), "/flag");
        // The settings of a flag are that flag's.
        assert_eq!(chosen(Some("/user"), Some("/user")), "/user", "the user's own file, on purpose");
    }
}
