//! `go build`, with progress that a person believes: what is built, how many packages are done, how long it took so far.

use std::{
    fmt::Write as _,
    fs,
    io::{BufRead as _, BufReader, IsTerminal as _, Read as _, Write as _},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};

use super::Group;
use crate::{files, process};

/// The oldest Go that the modules' `go` lines allow.
const GO: (u32, u32) = (1, 26);

/// Time between two lines of progress where there is no terminal whose line could be rewritten.
const QUIET_PERIOD: Duration = Duration::from_secs(20);

/// Builds groups into `cache/bin`. The caller holds the cache's lock.
pub(super) fn all(groups: &[&Group], cache: &Path) -> Result<()> {
    let go = go()?;
    let what: Vec<String> = groups
        .iter()
        .map(|group| format!("{} v{}", group.name, group.version()))
        .collect();
    let times: Vec<String> = groups
        .iter()
        .map(|group| format!("{} {}", group.name, group.first_build))
        .collect();
    eprintln!(
        "Building {} with Go. This happens once; on 2 cores it takes about: {}.",
        what.join(", "),
        times.join(", ")
    );
    eprintln!(
        "The binaries (0.4 GB) go to {}. Set KUBEBUILDER_ASSETS to use your own instead.",
        files::short(cache)
    );
    for (index, group) in groups.iter().enumerate() {
        one(
            &go,
            group,
            cache,
            &format!("[{}/{}] {:<10}", index + 1, groups.len(), group.name),
        )?;
    }
    Ok(())
}

fn one(go: &Path, group: &Group, cache: &Path, title: &str) -> Result<()> {
    // What an interrupted build left; nobody else is here, we hold the lock.
    let work = cache.join(format!("{}.part", group.name));
    files::remove_dir(&work)?;
    let out = work.join("bin");
    fs::create_dir_all(&out).with_context(|| format!("cannot create {}", out.display()))?;
    fs::write(work.join("go.mod"), group.go_mod)?;
    fs::write(work.join("go.sum"), group.go_sum)?;

    let mut progress = Progress::new(title);
    let flags = build_flags(group);
    let mut list = vec!["list", "-deps", "-f", "{{if .Stale}}{{.ImportPath}}{{end}}"];
    list.extend(flags.iter().map(String::as_str));
    let packages = group.binaries.iter().map(|binary| binary.package);
    list.extend(packages.clone());
    let mut downloads = 0;
    let stale = run(go, &work, &list, &mut progress, |line| {
        downloads += usize::from(line.starts_with("go: downloading"));
        format!("downloading sources: {downloads} modules")
    })?;
    let total = stale.lines().filter(|line| !line.is_empty()).count();

    let cores = thread::available_parallelism().map_or(2, std::num::NonZero::get);
    let cores = cores.to_string();
    let mut done = 0;
    let mut build = vec!["build", "-v", "-p", &cores];
    build.extend(flags.iter().map(String::as_str));
    // One program may be named as we like; for several, Go takes their packages' names, which are right.
    let target = match group.binaries {
        [only] => out.join(only.name),
        _ => out.join(""),
    };
    let target = target.to_string_lossy().into_owned();
    build.extend(["-o", &target]);
    build.extend(packages);
    run(go, &work, &build, &mut progress, |line| {
        done += usize::from(!line.starts_with("go: ") && !line.starts_with('#'));
        // The programs themselves come last; linking is silent.
        if done + group.binaries.len() < total {
            format!("{done} of {total} packages")
        } else {
            "linking".to_owned()
        }
    })?;

    let bin = cache.join("bin");
    fs::create_dir_all(&bin)?;
    for binary in group.binaries {
        let (from, to) = (out.join(binary.name), bin.join(binary.name));
        fs::rename(&from, &to).with_context(|| format!("go build made no {}", from.display()))?;
    }
    files::remove_dir(&work)?;
    progress.finish();
    Ok(())
}

fn build_flags(group: &Group) -> Vec<String> {
    let mut ldflags = "-s -w".to_owned();
    if group.name == "kubernetes" {
        let version = group.version();
        let mut parts = version.split('.');
        let (major, minor) = (
            parts.next().unwrap_or_default(),
            parts.next().unwrap_or_default(),
        );
        let package = "k8s.io/component-base/version";
        for (name, value) in [
            ("gitVersion", &*format!("v{version}")),
            ("gitMajor", major),
            ("gitMinor", minor),
        ] {
            let _ = write!(ldflags, " -X {package}.{name}={value}");
        }
    }
    // Debug information costs a fifth of the time and of the build cache, and nobody steps into these programs.
    vec![
        "-trimpath".into(),
        "-gcflags=all=-dwarf=false".into(),
        format!("-ldflags={ldflags}"),
    ]
}

/// Runs Go in the module's folder and gives its standard output. `say` turns each line of its errors into progress.
fn run(
    go: &Path,
    dir: &Path,
    args: &[&str],
    progress: &mut Progress,
    mut say: impl FnMut(&str) -> String,
) -> Result<String> {
    let mut command = process::tied_command(go)?;
    command
        .args(args)
        .current_dir(dir)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    // What the user set for other modules shall not change ours; GOPROXY, GOCACHE and the like stay.
    command
        .env("GOTOOLCHAIN", "local")
        .env("CGO_ENABLED", "0")
        .env("GOWORK", "off")
        .env("GOFLAGS", "-mod=readonly");
    let mut child = process::spawn_tied(command).context("cannot run go")?;
    let stdout = child.stdout.take().context("no standard output")?;
    let stderr = child.stderr.take().context("no standard error")?;
    let output = thread::spawn(move || {
        let mut text = String::new();
        BufReader::new(stdout)
            .read_to_string(&mut text)
            .map(|_| text)
    });
    let (sender, lines) = mpsc::sync_channel(64);
    thread::spawn(move || {
        for line in BufReader::new(stderr).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    let mut last: Vec<String> = Vec::new();
    loop {
        match lines.recv_timeout(Duration::from_secs(1)) {
            Ok(line) => {
                progress.show(&say(&line));
                if last.len() == 30 {
                    last.remove(0);
                }
                last.push(line);
            }
            Err(mpsc::RecvTimeoutError::Timeout) => progress.tick(),
            Err(mpsc::RecvTimeoutError::Disconnected) => break,
        }
    }
    let status = child.wait()?;
    let text = output.join().ok().context("reading go's output failed")??;
    if !status.success() {
        progress.clear();
        bail!(
            "`go {}` failed ({status}):\n{}",
            args.first().unwrap_or(&""),
            last.join("\n")
        );
    }
    Ok(text)
}

/// The user's Go, if it can build what we need.
fn go() -> Result<PathBuf> {
    let help = format!(
        "The testbed runs real Kubernetes servers and builds them with Go, once.\n  \
         Install Go {}.{} or newer (https://go.dev/dl, or your package manager) and have `go` in PATH,\n  \
         or set KUBEBUILDER_ASSETS to a folder with etcd, kube-apiserver, kube-controller-manager, kube-scheduler and kubectl\n  \
         (Kubernetes 1.34 or newer, etcd 3.6 or newer) and kwok (0.7 or newer); what is in PATH counts too.",
        GO.0, GO.1
    );
    let folders = std::env::var_os("PATH").unwrap_or_default();
    let Some(path) = std::env::split_paths(&folders)
        .map(|folder| folder.join("go"))
        .find(|path| path.is_file())
    else {
        bail!("`go` is not in PATH.\n  {help}");
    };
    let output = Command::new(&path)
        .args(["env", "GOVERSION"])
        .env("GOTOOLCHAIN", "local")
        .output();
    let text = output
        .map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned())
        .unwrap_or_default();
    match go_minor(&text) {
        Some(version) if version >= GO => Ok(path),
        Some(_) => bail!("{} is {text}, which is too old.\n  {help}", path.display()),
        None => bail!("{} does not say its version.\n  {help}", path.display()),
    }
}

/// `go1.26.8` → (1, 26); `go1.27rc1` → (1, 27).
fn go_minor(text: &str) -> Option<(u32, u32)> {
    let (major, rest) = text.strip_prefix("go")?.split_once('.')?;
    let minor: String = rest.chars().take_while(char::is_ascii_digit).collect();
    Some((major.parse().ok()?, minor.parse().ok()?))
}

/// One line of progress, rewritten on a terminal, repeated now and then elsewhere.
struct Progress {
    title: String,
    now: String,
    started: Instant,
    terminal: bool,
    shown: Option<Instant>,
}

impl Progress {
    fn new(title: &str) -> Self {
        let terminal = std::io::stderr().is_terminal();
        let mut new = Self {
            title: title.to_owned(),
            now: String::new(),
            started: Instant::now(),
            terminal,
            shown: None,
        };
        new.show("looking what there is to do");
        new
    }

    fn show(&mut self, now: &str) {
        if self.now != now {
            now.clone_into(&mut self.now);
        }
        self.tick();
    }

    fn tick(&mut self) {
        let period = if self.terminal {
            Duration::from_millis(100)
        } else {
            QUIET_PERIOD
        };
        if self.shown.is_some_and(|shown| shown.elapsed() < period) {
            return;
        }
        self.shown = Some(Instant::now());
        let line = format!(
            "{} {} · {}",
            self.title,
            self.now,
            human(self.started.elapsed())
        );
        if self.terminal {
            eprint!("\r\x1b[K{line}");
            let _ = std::io::stderr().flush();
        } else {
            eprintln!("{line}");
        }
    }

    fn clear(&self) {
        if self.terminal {
            eprint!("\r\x1b[K");
        }
    }

    fn finish(self) {
        self.clear();
        eprintln!("{} done in {}", self.title, human(self.started.elapsed()));
    }
}

fn human(time: Duration) -> String {
    match time.as_secs() {
        seconds @ 0..60 => format!("{seconds} s"),
        seconds => format!("{} min {:02} s", seconds / 60, seconds % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::super::GROUPS;
    use super::*;

    #[test]
    fn go_versions() {
        let cases = [
            ("go1.26.8", Some((1, 26))),
            ("go1.27rc1", Some((1, 27))),
            ("go1.9", Some((1, 9))),
            ("devel", None),
            ("", None),
        ];
        for (text, version) in cases {
            assert_eq!(go_minor(text), version, "{text}");
        }
    }

    #[test]
    fn kubernetes_is_told_its_version() {
        let flags = build_flags(&GROUPS[1]).join(" ");
        let version = GROUPS[1].version();
        assert!(
            flags.contains(&format!("version.gitVersion=v{version} ")),
            "{flags}"
        );
        assert!(flags.contains("version.gitMajor=1 -X"), "{flags}");
        assert!(!build_flags(&GROUPS[0]).join(" ").contains("gitVersion"));
    }

    #[test]
    fn times_read_well() {
        let cases = [
            (0, "0 s"),
            (59, "59 s"),
            (60, "1 min 00 s"),
            (312, "5 min 12 s"),
        ];
        for (seconds, text) in cases {
            assert_eq!(human(Duration::from_secs(seconds)), text);
        }
    }
}
