//! The cost of TLS: a session on the TCP port with it and without it.

use crate::{
    Effort,
    alone::READ_RECORD,
    report::{Cell, Limit, Table, Target, progress},
    samples::{Samples, Spread},
    stage::{READER, Stage, times},
    tcp::Tcp,
};

const LIMIT: f64 = 1.15;

pub(crate) async fn measure(effort: Effort) -> anyhow::Result<Table> {
    let stage = Stage::new(0, 0)?;
    let count = effort.choose(2_000, 200);
    let (mut plain, mut secure) = (Samples::default(), Samples::default());
    let mut ratios = Vec::new();
    for round in 1..=effort.rounds {
        progress(&format!("tls, round {round} of {}", effort.rounds));
        let mut medians = [0.0; 2];
        for (median, is_plain) in medians.iter_mut().zip([true, false]) {
            let Some(tcp) = Tcp::prepare()? else { anyhow::bail!("this cardbrokerd has no TCP port") };
            let tcp = if is_plain { tcp.without_tls()? } else { tcp };
            let mut broker = stage.broker(Some(&tcp)).await?;
            let mut user = tcp.access().client(&["units", "session", READER, READ_RECORD])?;
            times(&mut user, &format!("times {}", count / 10))?;
            let measured = times(&mut user, &format!("times {count}"))?;
            let samples: Samples = measured.iter().copied().collect();
            *median = samples.median() as f64;
            if is_plain {
                plain.add(measured)
            } else {
                secure.add(measured)
            }
            broker.stop()?;
        }
        ratios.push(medians[1] / medians[0]);
    }
    let ratio = Spread::of(&ratios);
    let row = |way: &str, samples: &Samples, ratio| {
        let [p50, p99, max] = Cell::quantiles(samples);
        vec![Cell::text(way), p50, p99, max, ratio]
    };
    let what = "one APDU in a session: TLS, to plain TCP";
    let targets = vec![Target::new(what, Limit::AtMost(LIMIT), ratio.median)];
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
