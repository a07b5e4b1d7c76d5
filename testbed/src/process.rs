//! Child processes that die with us, however we end.
//!
//! A child is started as `testbed exec-child PARENT -- PROGRAM …`: that asks the kernel for SIGKILL when the parent ends, and
//! then becomes the program (the request survives exec, and needs no unsafe code this way). Linux means the parent *thread*,
//! so one thread that lives as long as the process starts all children.

use std::{
    ffi::{OsStr, OsString},
    fs::{File, OpenOptions},
    io,
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{OnceLock, mpsc},
};

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal};

/// The hidden sub-command that [`exec_child`] serves.
pub(crate) const EXEC_CHILD: &str = "exec-child";

static CHILD_EXEC: OnceLock<PathBuf> = OnceLock::new();

/// Says where the `testbed` binary is, for programs that are not it: integration tests pass `env!("CARGO_BIN_EXE_testbed")`.
/// The first call counts.
pub fn set_child_exec(path: impl Into<PathBuf>) {
    let _ = CHILD_EXEC.set(path.into());
}

pub(crate) fn child_exec() -> Result<PathBuf> {
    if let Some(path) = CHILD_EXEC.get() {
        return Ok(path.clone());
    }
    let own = std::env::current_exe().context("cannot find the path of this program")?;
    if own.file_stem() == Some(OsStr::new("testbed")) {
        return Ok(own);
    }
    bail!(
        "{} is not the testbed binary: call testbed::process::set_child_exec first",
        own.display()
    )
}

/// A child process. Dropping it kills it.
#[derive(Debug)]
pub struct Process {
    name: String,
    log: PathBuf,
    child: Child,
}

/// What to start: a program, its arguments, and where its output goes.
#[derive(Debug, Clone)]
pub struct ProcessSpec {
    /// What people call it, for messages.
    pub name: String,
    /// The program's file.
    pub program: PathBuf,
    /// Its arguments.
    pub args: Vec<OsString>,
    /// Environment variables on top of ours.
    pub env: Vec<(OsString, OsString)>,
    /// Output and errors are appended here.
    pub log: PathBuf,
}

impl Process {
    /// Starts a child that the kernel kills when this process ends. With `held`, the child keeps that open file (and a lock on
    /// it) as its standard input until it ends.
    pub fn spawn(spec: ProcessSpec, held: Option<&File>) -> Result<Self> {
        let open_log = || OpenOptions::new().create(true).append(true).open(&spec.log);
        let log = open_log().with_context(|| format!("cannot write {}", spec.log.display()))?;
        let mut command = tied_command(&spec.program)?;
        command
            .args(&spec.args)
            .envs(spec.env.iter().map(|(key, value)| (key, value)));
        let input = match held {
            Some(file) => file.try_clone()?.into(),
            None => Stdio::null(),
        };
        command.stdin(input).stdout(log.try_clone()?).stderr(log);
        // Ctrl-C goes to the foreground group: it shall end us, and our end the children.
        command.process_group(0);
        let child = spawn_tied(command).with_context(|| format!("cannot start {}", spec.name))?;
        Ok(Self {
            name: spec.name,
            log: spec.log,
            child,
        })
    }

    /// What people call it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The file with its output.
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// How it ended, if it has.
    pub fn exited(&mut self) -> Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// Kills it at once (SIGKILL) and waits until it is gone.
    pub fn kill(&mut self) -> Result<()> {
        self.child
            .kill()
            .with_context(|| format!("cannot kill {}", self.name))?;
        self.child.wait()?;
        Ok(())
    }

    /// Asks it to end (SIGTERM); does not wait.
    pub fn terminate(&self) -> Result<()> {
        self.signal(Signal::TERM)
    }

    /// Stops it where it stands (SIGSTOP): connections stay open and nobody answers, as in a network partition.
    pub fn pause(&self) -> Result<()> {
        self.signal(Signal::STOP)
    }

    /// Lets it go on after [`Process::pause`].
    pub fn resume(&self) -> Result<()> {
        self.signal(Signal::CONT)
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        // The child is waited for only through `&mut self`, so the id is still its own.
        signal_to(self.child.id(), signal).with_context(|| format!("cannot signal {}", self.name))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.kill();
    }
}

/// Sends a signal to a process by id; the caller knows that the id still means what it meant.
pub(crate) fn signal_to(id: u32, signal: Signal) -> Result<()> {
    let id = i32::try_from(id)
        .ok()
        .and_then(Pid::from_raw)
        .context("not a process id")?;
    Ok(rustix::process::kill_process(id, signal)?)
}

/// A command that runs `program` tied to our life, once [`spawn_tied`] starts it.
pub(crate) fn tied_command(program: &Path) -> Result<Command> {
    let mut command = Command::new(child_exec()?);
    command
        .arg(EXEC_CHILD)
        .arg(std::process::id().to_string())
        .arg("--")
        .arg(program);
    Ok(command)
}

type Started = mpsc::SyncSender<io::Result<Child>>;

/// Starts a command from the thread that lives as long as we do.
pub(crate) fn spawn_tied(command: Command) -> Result<Child> {
    static THREAD: OnceLock<mpsc::SyncSender<(Command, Started)>> = OnceLock::new();
    let thread = THREAD.get_or_init(|| {
        let (sender, requests) = mpsc::sync_channel::<(Command, Started)>(16);
        std::thread::spawn(move || {
            for (mut command, started) in requests {
                let _ = started.send(command.spawn());
            }
        });
        sender
    });
    let (sender, started) = mpsc::sync_channel(1);
    thread
        .send((command, sender))
        .ok()
        .context("the thread that starts processes is gone")?;
    Ok(started.recv()??)
}

/// The sub-command `exec-child PARENT -- PROGRAM …`: ties this process to the parent's life and becomes the program. Returns
/// only if that fails.
pub(crate) fn exec_child(parent: u32, command: &[OsString]) -> Result<()> {
    die_with_parent()?;
    // The parent may have ended before the request; nobody would ever kill us then.
    let now = rustix::process::getppid().map(Pid::as_raw_nonzero);
    if now.map(|id| id.get().unsigned_abs()) != Some(parent) {
        bail!("the parent, process {parent}, is gone");
    }
    let (program, args) = command.split_first().context("no program given")?;
    let error = Command::new(program).args(args).exec();
    Err(error).with_context(|| format!("cannot run {}", program.display()))
}

#[cfg(target_os = "linux")]
fn die_with_parent() -> Result<()> {
    Ok(rustix::process::set_parent_process_death_signal(Some(
        Signal::KILL,
    ))?)
}

#[cfg(not(target_os = "linux"))]
fn die_with_parent() -> Result<()> {
    bail!("the testbed needs Linux: elsewhere children cannot be tied to their parent's life")
}

/// Bytes of memory of processes, shared pages counted in proportion (PSS); 0 for a process that is gone.
pub fn memory(ids: impl IntoIterator<Item = u32>) -> u64 {
    let one = |id| {
        let text = std::fs::read_to_string(format!("/proc/{id}/smaps_rollup")).ok()?;
        let line = text.lines().find(|line| line.starts_with("Pss:"))?;
        line.split_whitespace().nth(1)?.parse::<u64>().ok()
    };
    ids.into_iter().filter_map(one).sum::<u64>() * 1024
}
