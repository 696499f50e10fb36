//! `salvage`: the state that a restore left behind becomes a savepoint.

use std::{process::ExitCode, sync::Arc};

use clap::{Args, ValueHint};
use streamkeeper_protocol::paths::StatePaths;
use streamkeeper_storage::{ObjectStore, copy_savepoint, read_head, read_manifest};

use super::{args::WriteArgs, fail};

/// Copies the newest state that a job left behind, by a restore or a start from nothing, into a
/// savepoint folder among the job's own. The job may run meanwhile.
#[derive(Debug, Clone, Args)]
#[command(
    after_help = "Example:\n  streamjob-runtime salvage s3://bucket/state/flights/delays\n\nThe answer is the folder for spec.restoreFrom.uri. HEAD.json names such a state until another one is left behind.\nExit codes: 0 it is copied, 1 there is none or it cannot be copied, 2 wrong command line."
)]
pub(super) struct SalvageArgs {
    /// Folder of the job's state, the one that holds HEAD.json: s3://bucket/prefix/namespace/name,
    /// or file:///directory.
    #[arg(value_hint = ValueHint::Url)]
    uri: String,
    /// URL of an S3-compatible server; AWS when absent. Credentials come from the environment.
    #[arg(long, env = "AWS_ENDPOINT_URL")]
    endpoint: Option<String>,
    /// Region of the bucket.
    #[arg(long, env = "AWS_REGION")]
    region: Option<String>,
    #[command(flatten)]
    writes: WriteArgs,
}

pub(super) fn main(args: &SalvageArgs) -> ExitCode {
    let (config, _) = args
        .writes
        .configs(args.endpoint.as_ref(), args.region.as_ref());
    let (store, root) = match streamkeeper_storage::open(&args.uri, &config) {
        Ok(opened) => opened,
        Err(error) => return fail(error),
    };
    let runtime = match super::one_thread() {
        Ok(runtime) => runtime,
        Err(message) => return fail(message),
    };
    match runtime.block_on(salvage(store, &root)) {
        Ok(uri) => super::answer(format!("{uri}\n").as_bytes()),
        Err(message) => fail(message),
    }
}

/// Copies it; answers the URI of the savepoint.
async fn salvage(store: Arc<dyn ObjectStore>, root: &str) -> Result<String, String> {
    let paths = StatePaths::at(root.trim_matches('/'));
    let at = format!("{}/{}", store.describe(), paths.head());
    let head = read_head(&*store, &paths)
        .await
        .map_err(|error| error.to_string())?;
    let Some((head, _)) = head else {
        return Err(format!(
            "{at}: no such object; give the folder of a job's state, which ends with its namespace and name"
        ));
    };
    let Some(left) = head.left else {
        return Err(format!(
            "{at} names no state that was left behind: the job was never restored, and started from nothing once"
        ));
    };
    let manifest = read_manifest(&*store, &left.manifest)
        .await
        .map_err(|error| error.to_string())?;
    let folder = paths.savepoint(&format!("left-{}", left.checkpoint));
    copy_savepoint(&*store, &paths, &manifest, &folder)
        .await
        .map_err(|error| error.to_string())?;
    Ok(format!("{}/{folder}", store.describe()))
}

#[cfg(test)]
mod tests {
    use streamkeeper_storage::{Condition, MemoryStore};

    use super::*;

    #[tokio::test]
    async fn a_place_without_a_job_is_named_with_what_to_give() {
        let store: Arc<dyn ObjectStore> = Arc::new(MemoryStore::new());
        let error = salvage(store.clone(), "state/ns").await.unwrap_err();
        assert!(
            error.contains("state/ns/HEAD.json: no such object"),
            "{error}"
        );
        let head = include_bytes!("../../../protocol/tests/golden/head-v1.json");
        let head = head.as_slice().into();
        let key = "state/ns/job/HEAD.json";
        store.put(key, head, Condition::Always).await.unwrap();
        let error = salvage(store, "/state/ns/job/").await.unwrap_err();
        assert!(error.contains("names no state"), "{error}");
    }
}
