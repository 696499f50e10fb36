//! Which plans there are, how one is played, and what it comes to.

use std::{fmt, sync::Arc, time::Duration};

use super::{
    crash_injector::{CRASH_POINTS, CrashPoint, Effect},
    outcome::{Outcome, repeats},
    sandbox::{CrashEnv, Sandbox},
    scenarios::Scenario,
};

/// If no operator is killed in this time after the outcome is reached, the operator needed fewer
/// effects.
const REST: Duration = Duration::from_secs(4);
/// An outcome that does not change for this long does not change any more: the operator looks more
/// often.
const LONG_REST: Duration = Duration::from_secs(40);
/// How often the outcome is compared.
const GLANCE: Duration = Duration::from_millis(200);

/// A run without faults: plans are made from it, and their outcomes are compared with its outcome.
#[derive(Debug)]
pub struct Undisturbed {
    pub scenario: Scenario,
    pub end: Outcome,
    pub effects: Vec<Effect>,
}

/// The operator ends at one of its effects.
#[derive(Debug, Clone)]
pub struct Plan {
    pub run: Arc<Undisturbed>,
    pub at: usize,
    pub point: CrashPoint,
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Effect { call, detail, .. } = &self.run.effects[self.at];
        let (name, at, point) = (&self.run.scenario.name, self.at, self.point);
        write!(f, "{name}: {point:?} effect {at} ({call} {detail})")
    }
}

/// What a plan comes to.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    Passed,
    /// The run passed, but its operator made its writes in another order: it was killed at another
    /// write than the plan says.
    Shifted,
    /// This time the operator needed fewer effects: it was not killed, and nothing was proven.
    NotReached,
    Failed(String),
}

/// Every plan for a run.
pub fn plans(run: &Arc<Undisturbed>) -> Vec<Plan> {
    let at = |at: usize| {
        CRASH_POINTS.map(|point| Plan {
            run: run.clone(),
            at,
            point,
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

/// Returns what is done until the outcome is reached, and that outcome.
async fn undisturbed(
    sandbox: &mut Sandbox,
    scenario: &Scenario,
) -> Result<(Vec<Effect>, Outcome), String> {
    open(sandbox, scenario).await?;
    sandbox.injector.set(None);
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
            effects = sandbox.injector.effects();
        } else if since.elapsed() > LONG_REST {
            break;
        }
        let what = missing.map_or("the end to come to rest".to_owned(), |(place, wanted)| {
            format!("{place} to be {wanted}")
        });
        sandbox.check(&what, deadline)?;
        tokio::time::sleep(GLANCE).await;
    }
    honest(sandbox, &[], &sandbox.injector.effects())?;
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

/// Fails on what must not happen, whatever the outcome is.
fn honest(sandbox: &Sandbox, undisturbed: &[Effect], effects: &[Effect]) -> Result<(), String> {
    let mut violations = sandbox.violations();
    violations.extend(repeats(effects, undisturbed));
    if violations.is_empty() {
        return Ok(());
    }
    Err(violations.join("\n"))
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
    sandbox.injector.set(Some((plan.at, plan.point)));
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
            if sandbox.injector.is_over()
                && sandbox.true_end(scenario.attempts).await? == plan.run.end
            {
                break;
            }
            if !sandbox.injector.is_over() && since.elapsed() > REST {
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
    let effects = sandbox.injector.effects();
    honest(sandbox, &plan.run.effects, &effects)?;
    let killed_at = effects.get(plan.at).map(|effect| &effect.call);
    Ok(match killed_at {
        Some(call) if *call == plan.run.effects[plan.at].call => Verdict::Passed,
        _ => Verdict::Shifted,
    })
}
