//! Where log lines go: to the standard error output, which systemd takes to its journal. Lines of
//! the `log` crate (aya's) come along.

use std::env;

use anyhow::{Context, Result, anyhow};
use tracing_subscriber::EnvFilter;

use super::output::Look;
use crate::config::Palette;

/// The variable that says what is logged.
const VARIABLE: &str = "SLUICE_LOG";

/// What is logged if nothing else is said. netlink-proto logs errors of its own about connections
/// that were closed on purpose. The packet program's lines exist only with `[agent] debug = true`.
const DEFAULT: &str = "info,netlink_proto=off,sluice::datapath=debug";

/// Starts logging, once.
pub(super) fn init() -> Result<()> {
    let colours = match Look::of_stderr().palette {
        Palette::Coloured => true,
        Palette::Plain => false,
    };
    tracing_subscriber::fmt()
        .with_env_filter(filter(env::var(VARIABLE).ok().as_deref())?)
        .with_writer(std::io::stderr)
        .with_ansi(colours)
        .try_init()
        .map_err(|error| anyhow!("cannot start logging: {error}"))
}

/// The default, and over it what the operator says.
fn filter(wanted: Option<&str>) -> Result<EnvFilter> {
    let directives = match wanted {
        Some(wanted) if !wanted.is_empty() => format!("{DEFAULT},{wanted}"),
        Some(_) | None => DEFAULT.to_owned(),
    };
    EnvFilter::try_new(&directives).with_context(|| {
        let wanted = wanted.unwrap_or_default();
        format!(
            "{VARIABLE}={wanted:?} is no log filter; try `debug` or `warn,lb_userspace::net=trace`"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(wanted: Option<&str>) -> String {
        filter(wanted).unwrap().to_string()
    }

    #[test]
    fn what_the_operator_says_comes_last() {
        let own = "sluice::datapath=debug,netlink_proto";
        assert_eq!(shown(None), format!("{own}=off,info"));
        assert_eq!(shown(Some("")), format!("{own}=off,info"));
        assert_eq!(shown(Some("debug")), format!("{own}=off,debug"));
        assert_eq!(
            shown(Some("netlink_proto=debug")),
            format!("{own}=debug,info")
        );
    }

    #[test]
    fn nonsense_is_refused() {
        assert!(filter(Some("a=b=c")).is_err());
    }
}
