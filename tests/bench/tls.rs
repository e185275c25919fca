//! The cost of TLS: a session on the TCP port with it and without it.

use crate::{
    alone::READ_RECORD,
    report::{Cell, Limit, Table, Target, progress},
    rounds::{Effort, order},
    samples::Rounds,
    stage::{READER, Stage, times},
    tcp::Tcp,
};

const LIMIT: f64 = 1.15;

pub(crate) async fn measure(effort: Effort) -> anyhow::Result<Table> {
    let stage = Stage::new(0, 0)?;
    let count = effort.choose(2_000, 200);
    // Plain, and secure.
    let mut series: [Rounds; 2] = Default::default();
    for round in 1..=effort.rounds {
        progress(&format!("tls, round {round} of {}", effort.rounds));
        for way in order(round, series.len()) {
            let is_plain = way == 0;
            let Some(tcp) = Tcp::prepare()? else { anyhow::bail!("this cardbrokerd has no TCP port") };
            let tcp = if is_plain { tcp.without_tls()? } else { tcp };
            let mut broker = stage.broker(Some(&tcp)).await?;
            let mut user = tcp.access().client(&["units", "session", READER, READ_RECORD])?;
            times(&mut user, &format!("times {}", count / 10))?;
            series[way].add(times(&mut user, &format!("times {count}"))?);
            broker.stop()?;
        }
    }
    let [plain, secure] = series;
    let ratio = secure.to(&plain);
    let row = |way: &str, times: &Rounds, ratio| {
        let [p50, p99, max] = Cell::quantiles(times.all());
        vec![Cell::text(way), p50, p99, max, ratio]
    };
    let what = "one APDU in a session: TLS, to plain TCP";
    let targets = vec![Target::new(what, Limit::AtMost(LIMIT), ratio)];
    Ok(Table {
        title: "TLS",
        about: "One client process with a session on the TCP port, and a card that answers at once. The ratio is to \
                plain TCP, median to median."
            .into(),
        columns: vec!["way", "p50", "p99", "max", "ratio"],
        rows: vec![row("plain TCP", &plain, Cell::None), row("TLS", &secure, Cell::Ratio(ratio))],
        targets,
    })
}
