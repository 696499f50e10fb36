//! Which plans there are, how one is played, and what it comes to.

use std::{fmt, sync::Arc, time::Duration};

use super::{
    end::{End, repeats},
    sandbox::{CrashEnv, Sandbox},
    scenarios::Scenario,
    trap::{CUTS, Cut, Effect},
};

/// An operator that nobody killed in this time after the end was reached gets there with fewer
/// effects.
const REST: Duration = Duration::from_secs(4);
/// An end that stays for this long, longer than the operator waits between two looks, stays.
const LONG_REST: Duration = Duration::from_secs(40);
/// How often ends are looked at.
const GLANCE: Duration = Duration::from_millis(200);

/// A run without faults: what plans are made from, and what their ends are compared with.
#[derive(Debug)]
pub struct Undisturbed {
    pub scenario: Scenario,
    pub end: End,
    pub effects: Vec<Effect>,
}

/// The operator ends at one of its effects.
#[derive(Debug, Clone)]
pub struct Plan {
    pub run: Arc<Undisturbed>,
    pub at: usize,
    pub cut: Cut,
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Effect { call, detail, .. } = &self.run.effects[self.at];
        let (name, at, cut) = (&self.run.scenario.name, self.at, self.cut);
        write!(f, "{name}: {cut:?} effect {at} ({call} {detail})")
    }
}

/// What a plan comes to.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    Passed,
    /// So did a run whose operator came to its writes in another order: it was killed at another
    /// one than the plan says.
    Shifted,
    /// This time the operator got there with fewer effects: nobody was killed, nothing was proven.
    NotReached,
    Failed(String),
}

/// Every plan for a run.
pub fn plans(run: &Arc<Undisturbed>) -> Vec<Plan> {
    let at = |at: usize| {
        CUTS.map(|cut| Plan {
            run: run.clone(),
            at,
            cut,
        })
    };
    (0..run.effects.len()).flat_map(at).collect()
}

/// Plays a scenario without faults.
pub async fn rehearse(env: Arc<CrashEnv>, scenario: Scenario) -> Result<Arc<Undisturbed>, String> {
    let mut sandbox = Sandbox::set(env, &scenario).await?;
    let rehearsed = undisturbed(&mut sandbox, &scenario).await;
    let rehearsed = match rehearsed {
        Ok((effects, end)) => Ok(Arc::new(Undisturbed {
            scenario,
            end,
            effects,
        })),
        Err(why) => {
            let end = sandbox.end(scenario.attempts).0;
            let told = sandbox.describe().await;
            Err(format!(
                "{} without faults: {why}\n{end:#}\n{told}",
                scenario.name
            ))
        }
    };
    sandbox.strike().await?;
    rehearsed
}

/// What is done until the end is reached, and that end.
async fn undisturbed(
    sandbox: &mut Sandbox,
    scenario: &Scenario,
) -> Result<(Vec<Effect>, End), String> {
    open(sandbox, scenario).await?;
    sandbox.trap.set(None);
    for act in &scenario.change {
        act.play(sandbox).await?;
    }
    let deadline = Sandbox::deadline();
    let (mut last, mut since) = (None, tokio::time::Instant::now());
    let mut effects = Vec::new();
    loop {
        let end = sandbox.end(scenario.attempts);
        let missing = scenario
            .end
            .iter()
            .find(|(place, wanted)| end.at(place) != wanted);
        if last.as_ref() != Some(&end) || !sandbox.is_settled() || missing.is_some() {
            (last, since) = (Some(end), tokio::time::Instant::now());
            effects = sandbox.trap.effects();
        } else if since.elapsed() > LONG_REST {
            break;
        }
        let what = missing.map_or("the end to come to rest".to_owned(), |(place, wanted)| {
            format!("{place} to be {wanted}")
        });
        sandbox.check(&what, deadline)?;
        tokio::time::sleep(GLANCE).await;
    }
    honest(sandbox, &[], &sandbox.trap.effects())?;
    Ok((effects, sandbox.true_end(scenario.attempts).await?))
}

/// Everything that comes before the transition.
async fn open(sandbox: &mut Sandbox, scenario: &Scenario) -> Result<(), String> {
    sandbox.begin();
    for act in &scenario.before {
        act.play(sandbox).await?;
        sandbox
            .until(&format!("{act:?} to be done"), |sandbox| {
                let checkpointed = sandbox.head().is_some_and(|head| head.last.is_some());
                checkpointed && sandbox.is_settled() && sandbox.is_tidy()
            })
            .await?;
    }
    Ok(())
}

/// What must not have happened whatever the end is.
fn honest(sandbox: &Sandbox, undisturbed: &[Effect], effects: &[Effect]) -> Result<(), String> {
    let mut crimes = sandbox.crimes();
    crimes.extend(repeats(effects, undisturbed));
    if crimes.is_empty() {
        return Ok(());
    }
    Err(crimes.join("\n"))
}

/// Plays a plan.
pub async fn play(env: Arc<CrashEnv>, plan: Plan) -> Verdict {
    let scenario = &plan.run.scenario;
    let mut sandbox = match Sandbox::set(env, scenario).await {
        Ok(sandbox) => sandbox,
        Err(why) => return Verdict::Failed(why),
    };
    let verdict = match disturbed(&mut sandbox, &plan).await {
        Ok(verdict) => verdict,
        Err(why) => {
            let told = sandbox.describe().await;
            Verdict::Failed(format!("{plan}\n{why}\n{told}"))
        }
    };
    match sandbox.strike().await {
        Ok(()) => verdict,
        Err(error) => Verdict::Failed(format!("{plan}: cannot clean up: {error}")),
    }
}

async fn disturbed(sandbox: &mut Sandbox, plan: &Plan) -> Result<Verdict, String> {
    let scenario = &plan.run.scenario;
    open(sandbox, scenario).await?;
    sandbox.trap.set(Some((plan.at, plan.cut)));
    for act in &scenario.change {
        act.play(sandbox).await?;
    }
    let deadline = Sandbox::deadline();
    let (mut last, mut since) = (None, tokio::time::Instant::now());
    loop {
        let end = sandbox.end(scenario.attempts);
        if last.as_ref() != Some(&end) || !sandbox.is_settled() {
            (last, since) = (Some(end.clone()), tokio::time::Instant::now());
        }
        let differences = || end.differences(&plan.run.end);
        if end == plan.run.end && sandbox.is_settled() {
            // What watches show is late: the API server has the last word.
            if sandbox.trap.is_over() && sandbox.true_end(scenario.attempts).await? == plan.run.end
            {
                break;
            }
            if !sandbox.trap.is_over() && since.elapsed() > REST {
                return Ok(Verdict::NotReached);
            }
        } else if since.elapsed() > LONG_REST {
            return Err(format!("it came to rest elsewhere\n{}", differences()));
        }
        sandbox
            .check("the end of the undisturbed run", deadline)
            .map_err(|why| format!("{why}\n{}", differences()))?;
        tokio::time::sleep(GLANCE).await;
    }
    let effects = sandbox.trap.effects();
    honest(sandbox, &plan.run.effects, &effects)?;
    let killed_at = effects.get(plan.at).map(|effect| &effect.call);
    Ok(match killed_at {
        Some(call) if *call == plan.run.effects[plan.at].call => Verdict::Passed,
        _ => Verdict::Shifted,
    })
}
