//! A process of the runtime, stopped by its handle.

use std::{
    fs::{File, OpenOptions},
    os::unix::process::ExitStatusExt,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
};

use rustix::process::{Pid, Signal, kill_process};

/// The binary under test.
pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_streamjob-runtime");

/// A command of the binary under test, with nothing of ours in its environment but credentials.
pub(crate) fn command() -> Command {
    let mut command = Command::new(BINARY);
    for (name, _) in std::env::vars_os() {
        let ours = name
            .to_str()
            .is_some_and(|name| name.starts_with("STREAMKEEPER_"));
        if ours || name == "AWS_ENDPOINT_URL" {
            command.env_remove(name);
        }
    }
    command.env(
        "RUST_LOG",
        "info,streamkeeper_node=debug,streamkeeper_coordinator=debug,streamkeeper_control=debug,\
         streamkeeper_storage=debug",
    );
    command.stdin(Stdio::null());
    command
}

/// A running process that writes what it says to a file.
pub(crate) struct Process {
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts `command`; what it says is added to `log`.
    pub(crate) fn start(mut command: Command, log: &Path) -> Self {
        let file = OpenOptions::new().create(true).append(true).open(log);
        let file: File = file.unwrap();
        command.stdout(file.try_clone().unwrap()).stderr(file);
        let child = command.spawn().unwrap();
        Self {
            child,
            log: log.to_owned(),
        }
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(&self.child);
        // A process that has ended meanwhile is not waited for, so its number is still its own.
        kill_process(pid, signal).unwrap();
    }

    /// `kill -9`.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// How it ended, if it did.
    pub(crate) fn ended(&mut self) -> Option<Ended> {
        self.child.try_wait().unwrap().map(Ended::of)
    }

    /// Everything it and its predecessors at this log said.
    pub(crate) fn said(&self) -> String {
        let said = std::fs::read(&self.log).unwrap_or_default();
        String::from_utf8_lossy(&said).into_owned()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Also reaches a stopped one.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    Code(i32),
    Signal(i32),
}

impl Ended {
    /// `abort()`, as fail points do.
    pub(crate) const ABORTED: Self = Self::Signal(6);

    fn of(status: ExitStatus) -> Self {
        match (status.code(), status.signal()) {
            (Some(code), _) => Self::Code(code),
            (None, signal) => Self::Signal(signal.unwrap_or(0)),
        }
    }
}
