//! What a job comes to: its HEAD, its output, and everything there is to see when that is wrong.

use std::{fmt::Write, ops::Range, time::Duration};

use streamkeeper_protocol::head::{Head, RunState};
use streamkeeper_storage::{read_head, read_manifest};

use super::{
    job::Job,
    ledger::{self, Part, Tally},
    wait::{PATIENCE, within},
};

/// Tables of the job.
const TABLES: [&str; 3] = ["passed", "windows", "counts"];
/// Lines of each log that a failed test shows.
const LAST_LINES: usize = 70;

impl Job {
    /// HEAD as it is stored; none when it is not.
    pub(crate) async fn head(&self) -> Result<Option<Head>, String> {
        let read = read_head(&*self.bucket.store, &self.paths).await;
        let read = read.map_err(|error| error.to_string())?;
        Ok(read.map(|(head, _)| head))
    }

    /// Lets the job read as fast as it can, and waits until HEAD says that all input was read and
    /// committed.
    pub(crate) async fn completed(&self, limit: Duration) -> Result<Head, String> {
        self.hurry();
        within(limit, "HEAD says Completed", async || {
            let head = self.head().await?.ok_or("there is no HEAD")?;
            match head.state {
                RunState::Completed => Ok(head),
                _ => Err(brief(&head)),
            }
        })
        .await
    }

    /// Waits for the end of the job and holds its output against its input.
    pub(crate) async fn ends_exactly(&self) -> Tally {
        let head = self.completed(PATIENCE).await;
        let head = head.unwrap_or_else(|seen| panic!("{seen}"));
        let tally = self.ledger(&head).await;
        let tally = tally.unwrap_or_else(|differences| panic!("{differences}"));
        let (expected_some, rows) = (tally.passed > 0 && tally.windows > 0, self.rows.len());
        assert!(expected_some, "{tally:?} of {rows} rows");
        tally
    }

    /// The same for a job that went back: what it wrote under the numbers of `left` was computed
    /// again.
    pub(crate) async fn ends_exactly_without(&self, left: Range<u64>) {
        let head = self.completed(PATIENCE).await;
        let head = head.unwrap_or_else(|seen| panic!("{seen}"));
        let mut parts = self.parts(&head).await.unwrap();
        let all = parts.len();
        parts.retain(|part| !left.contains(&part.checkpoint));
        assert!(parts.len() < all, "nothing was written in {left:?}");
        self.restorable(&head).await.unwrap();
        let checked = ledger::check(&self.rows, &parts);
        checked.unwrap_or_else(|differences| panic!("without {left:?}: {differences}"));
    }

    /// Every object that is visible is a commit's, and together they hold what the input says.
    pub(crate) async fn ledger(&self, head: &Head) -> Result<Tally, String> {
        let parts = self.parts(head).await?;
        self.restorable(head).await?;
        ledger::check(&self.rows, &parts)
    }

    /// Every object that is visible, if each is a commit's.
    pub(crate) async fn parts(&self, head: &Head) -> Result<Vec<Part>, String> {
        let last = head.last.as_ref().map_or(0, |last| last.checkpoint);
        let mut parts = Vec::new();
        for (name, content) in self.bucket.read_all(self.settings.output).await {
            let table = TABLES
                .iter()
                .find_map(|table| Some((*table, name.strip_prefix(&format!("{table}/"))?)));
            let (table, file) = table.ok_or_else(|| format!("a stray object: out/{name}"))?;
            let part = Part::read(table, file, &content)?;
            if part.checkpoint > last {
                return Err(format!(
                    "out/{name} was committed before its checkpoint: the restore point is {last}"
                ));
            }
            if !head.lineage.ends_with(&part.lineage) {
                return Err(format!(
                    "out/{name} is of another job than {}",
                    head.lineage
                ));
            }
            parts.push(part);
        }
        let uploads = self.bucket.open_uploads().await;
        if !uploads.is_empty() {
            return Err(format!("uploads were begun and not ended: {uploads:?}"));
        }
        Ok(parts)
    }

    /// The restore point is whole, and remembers how much was read.
    async fn restorable(&self, head: &Head) -> Result<(), String> {
        let last = head.last.as_ref().ok_or("there is no restore point")?;
        let manifest = read_manifest(&*self.bucket.store, &last.manifest).await;
        let manifest = manifest.map_err(|error| error.to_string())?;
        for key in manifest.objects() {
            let read = self.bucket.store.get(key).await;
            read.map_err(|error| format!("the restore point lost {key}: {error}"))?;
        }
        if manifest.records_in != self.rows.len() as u64 {
            return Err(format!(
                "{} records were read of {}",
                manifest.records_in,
                self.rows.len()
            ));
        }
        Ok(())
    }

    /// All there is to see.
    async fn describe(&self) -> String {
        let mut text = String::new();
        for (name, pod) in &self.pods {
            let Some(process) = &pod.process else {
                continue;
            };
            let said = process.said();
            let lines: Vec<&str> = said.lines().collect();
            let from = lines.len().saturating_sub(LAST_LINES);
            let _ = writeln!(text, "--- {name}, last of {} lines", lines.len());
            for line in &lines[from..] {
                let _ = writeln!(text, "{line}");
            }
            if name.ordinal == 0 {
                let address = pod.api.address();
                let caller = self.caller();
                let report = caller.get::<serde_json::Value>(&address, "/v1/report");
                let report = tokio::time::timeout(Duration::from_secs(2), report).await;
                let _ = match report {
                    Ok(Ok(report)) => writeln!(text, "--- report of {name}: {report}"),
                    Ok(Err(error)) => writeln!(text, "--- no report of {name}: {error}"),
                    Err(_) => writeln!(text, "--- no report of {name} within 2 s"),
                };
            }
        }
        let head = self.head().await;
        let _ = match head {
            Ok(Some(head)) => writeln!(text, "--- HEAD: {}", serde_json::json!(head)),
            other => writeln!(text, "--- no HEAD: {other:?}"),
        };
        let out = format!("{}/{}/", self.bucket.prefix, self.settings.output);
        let listed = self.bucket.store.list(&out).await.unwrap_or_default();
        let bytes: u64 = listed.iter().map(|object| object.size).sum();
        let _ = writeln!(
            text,
            "--- {} files below {out}, {bytes} bytes",
            listed.len()
        );
        text
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            return;
        }
        let this = &*self;
        // The test's own runtime is busy with us.
        let described = std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build()?;
                Ok::<_, std::io::Error>(runtime.block_on(this.describe()))
            });
            thread.join()
        });
        match described {
            Ok(Ok(text)) => println!("{text}"),
            other => println!("--- nothing can be told: {other:?}"),
        }
    }
}

fn brief(head: &Head) -> String {
    format!(
        "{:?}, revision {}, attempt {}, write {}, restore point {:?}",
        head.state,
        head.revision,
        head.attempt,
        head.seq,
        head.last.as_ref().map(|last| last.checkpoint)
    )
}
