//! All cases of the kit, and the loop that runs them: one line each.

use std::{io::Write, path::Path};

use anyhow::{Result, anyhow};
use futures_util::{StreamExt, stream};

use crate::{
    contract::Contract,
    scenario::{self, Scenario},
    stage::Stage,
    vectors::{self, Vector},
    walk::{self, Step},
};

/// After so many failures in a row the rest of the tables and of the walk is skipped: each may take its 10 s.
const HOPELESS: usize = 30;

/// One case of the kit: a scenario, a row of a table, or a step of the walk.
#[derive(Debug, Clone)]
pub struct Case(What);

#[derive(Debug, Clone)]
enum What {
    Scenario(Scenario),
    Vector(Vector),
    Step(Step),
}

/// How many cases passed and failed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Count {
    /// Cases in which the client behaved as the kit requires.
    pub passed: usize,
    /// Cases in which the client behaved differently.
    pub failed: usize,
}

/// The selection of the cases to run.
#[derive(Debug, Clone, Default)]
pub struct Choice {
    /// Only those whose name contains this.
    pub only: Option<String>,
    /// None whose name contains one of these.
    pub skip: Vec<String>,
    /// Whether to leave out those that take half a minute or more.
    pub quick: bool,
    /// None with one of these operations, which the client lacks.
    pub lacks: Vec<&'static str>,
}

impl Case {
    /// The name that `--only` and `--skip` select by.
    pub fn name(&self) -> &str {
        match &self.0 {
            What::Scenario(scenario) => &scenario.name,
            What::Vector(vector) => &vector.name,
            What::Step(step) => &step.name,
        }
    }

    /// Whether an order to the driver has this operation.
    fn has(&self, operation: &str) -> bool {
        match &self.0 {
            What::Scenario(scenario) => scenario.has(operation),
            What::Vector(vector) => vector.has(operation),
            // The walk has operations that every client has.
            What::Step(_) => false,
        }
    }

    fn is_slow(&self) -> bool {
        matches!(&self.0, What::Scenario(scenario) if scenario.is_slow)
    }
}

/// Returns the chosen cases of a kit, in order.
///
/// # Errors
/// If the kit cannot be read.
pub fn all(contract: &Contract, kit: &Path, choice: &Choice) -> Result<Vec<Case>> {
    let scenarios = scenario::read(&kit.join("scenarios"))?.into_iter().map(What::Scenario);
    let vectors = vectors::read(kit)?.into_iter().map(What::Vector);
    let steps = walk::steps(contract)?.into_iter().map(What::Step);
    let cases = scenarios.chain(vectors).chain(steps).map(Case);
    let is_chosen = |case: &Case| {
        let holds = |part: &String| case.name().contains(part.as_str());
        let is_left_out = choice.skip.iter().any(holds)
            || choice.quick && case.is_slow()
            || choice.lacks.iter().any(|operation| case.has(operation));
        choice.only.as_ref().is_none_or(holds) && !is_left_out
    };
    Ok(cases.filter(is_chosen).collect())
}

/// Runs cases against a driver, and writes a line for each.
///
/// Scenarios have a driver each; `jobs` of them run at a time, the slow ones beside all the rest. Vectors and the walk
/// share a driver until one of them fails.
///
/// # Errors
/// If the lines cannot be written.
pub async fn run(
    contract: &Contract,
    driver: &str,
    cases: &[Case],
    jobs: usize,
    out: &mut impl Write,
) -> Result<Count> {
    let (slow, rest): (Vec<_>, Vec<_>) = cases.iter().partition(|case| case.is_slow());
    let slow = slow.into_iter().map(|case| async move { (case, alone(contract, driver, case).await) });
    let slow = stream::iter(slow).buffer_unordered(cases.len().max(1)).collect::<Vec<_>>();
    let others = async {
        let mut count = Count::default();
        let (scenarios, shared): (Vec<&Case>, Vec<&Case>) =
            rest.iter().partition(|case| matches!(case.0, What::Scenario(_)));
        let results = scenarios.into_iter().map(|case| async move { (case, alone(contract, driver, case).await) });
        let mut results = stream::iter(results).buffered(jobs.max(1));
        while let Some((case, result)) = results.next().await {
            count.tell(case, result, out)?;
        }
        let mut stage = None;
        let mut in_a_row = 0;
        for case in shared {
            let result = match in_a_row {
                HOPELESS.. => Err(anyhow!("not tried: the {HOPELESS} cases before failed, too")),
                _ => together(contract, driver, case, &mut stage).await,
            };
            in_a_row = if result.is_ok() { 0 } else { in_a_row + 1 };
            if result.is_err() {
                stage = None;
            }
            count.tell(case, result, out)?;
        }
        anyhow::Ok((count, out))
    };
    let (slow, others) = tokio::join!(slow, others);
    let (mut count, out) = others?;
    for (case, result) in slow {
        count.tell(case, result, out)?;
    }
    Ok(count)
}

async fn alone(contract: &Contract, driver: &str, case: &Case) -> Result<()> {
    together(contract, driver, case, &mut None).await
}

async fn together<'a>(contract: &'a Contract, driver: &str, case: &Case, shared: &mut Option<Stage<'a>>) -> Result<()> {
    if let What::Scenario(scenario) = &case.0 {
        return scenario.run(contract, driver).await;
    }
    let stage = match shared {
        Some(stage) => stage,
        None => {
            let mut stage = Stage::new(contract, driver)?;
            stage.broker.listen()?;
            stage.connect().await?;
            shared.insert(stage)
        }
    };
    match &case.0 {
        What::Vector(vector) => vector.run(stage).await,
        What::Step(step) => step.run(stage).await,
        What::Scenario(_) => Ok(()),
    }
}

impl Count {
    fn tell(&mut self, case: &Case, result: Result<()>, out: &mut impl Write) -> Result<()> {
        match result {
            Ok(()) => {
                self.passed += 1;
                writeln!(out, "ok      {}", case.name())?;
            }
            Err(error) => {
                self.failed += 1;
                writeln!(out, "FAILED  {}\n  {}", case.name(), format!("{error:#}").replace('\n', "\n  "))?;
            }
        }
        out.flush()?;
        Ok(())
    }
}
