//! Writes what goes into the planner to a file, beside the engine: a thread encodes and writes, so that a cycle costs a copy
//! of what was asked and nothing waits for the disk.
//!
//! ```text
//! Core --steps--> bounded channel --> thread: Encoder -> DIR/term-N.jsonl
//! ```
//!
//! Recording never harms scheduling. When the disk is full or too slow, or the file is as large as it may be, it says so
//! once, writes a last line where it can, and ends.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, BufWriter, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, channel, sync_channel};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tracing::{error, info};

use crate::record::{Encoder, Step};

/// Batches that wait for the disk. One has what happened between two looks of the engine.
const BATCHES: usize = 256;
/// Files of one term, should a term ever come again.
const FILES: usize = 100;

/// So long a stop waits for the disk.
const LAST_WRITES: Duration = Duration::from_secs(2);

/// Where to record, and how much.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Recording {
    /// Folder; each leadership writes a file of its own.
    pub(crate) folder: PathBuf,
    /// Largest file in bytes.
    pub(crate) most: u64,
}

/// Records one leadership. Dropping it writes the last line and waits for the disk, not long.
#[derive(Debug)]
pub(crate) struct Recorder {
    sender: Option<SyncSender<Vec<Step>>>,
    /// Nothing is ever sent; it is closed when the thread has ended.
    ended: Option<Receiver<()>>,
    why: Arc<OnceLock<&'static str>>,
}

impl Recorder {
    /// Begins the file of a term.
    ///
    /// # Errors
    /// Where the file cannot be made.
    pub(crate) fn begin(recording: &Recording, term: i64, now_ms: i64) -> io::Result<Self> {
        let (path, file) = create(&recording.folder, term)?;
        let (encoder, header) = Encoder::begin(&format!("scheduler, term {term}"), now_ms);
        let mut tape = Tape {
            encoder,
            file: BufWriter::new(file),
            left: recording.most,
        };
        tape.put(&header)?;
        tape.file.flush()?;
        info!(path = %path.display(), "recording what goes into the planner");
        let (sender, batches) = sync_channel(BATCHES);
        let why = Arc::new(OnceLock::new());
        let told = Arc::clone(&why);
        let (alive, ended) = channel();
        std::thread::Builder::new()
            .name("recorder".to_owned())
            .spawn(move || {
                tape.run(&batches, &told, &path);
                drop(alive);
            })?;
        Ok(Self {
            sender: Some(sender),
            ended: Some(ended),
            why,
        })
    }

    /// Hands over what has happened. `false`: the recording has ended, and has said why.
    pub(crate) fn take(&mut self, steps: Vec<Step>) -> bool {
        let Some(sender) = &self.sender else {
            return false;
        };
        match sender.try_send(steps) {
            Ok(()) => true,
            Err(TrySendError::Full(_)) => {
                error!("the disk is too slow: the recording ends here; scheduling goes on");
                let _first = self.why.set("the disk was too slow");
                self.sender = None;
                // Nobody waits for a disk that is too slow already.
                self.ended = None;
                false
            }
            Err(TrySendError::Disconnected(_)) => false,
        }
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        let _first = self.why.set("the scheduler stopped");
        self.sender = None;
        if let Some(ended) = self.ended.take() {
            // Whether it has ended or not, nothing more can be done.
            let _late = ended.recv_timeout(LAST_WRITES);
        }
    }
}

/// The file that is being written.
struct Tape {
    encoder: Encoder,
    file: BufWriter<File>,
    left: u64,
}

impl Tape {
    fn run(mut self, batches: &Receiver<Vec<Step>>, why: &OnceLock<&'static str>, path: &Path) {
        while let Ok(steps) = batches.recv() {
            match self.batch(steps) {
                Ok(true) => {}
                Ok(false) => {
                    error!(path = %path.display(), "the recording is as large as it may be and ends here; --record-limit allows more, a restart begins a new one");
                    return self.end("it was as large as it may be", path);
                }
                Err(error) => {
                    // A line may be cut off; nothing can be added.
                    error!(path = %path.display(), %error, "the recording cannot be written and ends here; scheduling goes on");
                    return;
                }
            }
        }
        self.end(why.get().copied().unwrap_or("the scheduler stopped"), path);
    }

    /// Writes a batch. `false`: there is no room for more.
    fn batch(&mut self, steps: Vec<Step>) -> io::Result<bool> {
        for step in steps {
            let lines = self.encoder.step(step);
            if lines.len() as u64 > self.left {
                self.encoder.take_back();
                return Ok(false);
            }
            self.put(&lines)?;
        }
        self.file.flush()?;
        Ok(true)
    }

    fn put(&mut self, lines: &str) -> io::Result<()> {
        self.left = self.left.saturating_sub(lines.len() as u64);
        self.file.write_all(lines.as_bytes())
    }

    fn end(&mut self, why: &str, path: &Path) {
        let line = self.encoder.end(why);
        if let Err(error) = self.put(&line).and_then(|()| self.file.flush()) {
            error!(path = %path.display(), %error, "the last line of the recording cannot be written");
        }
    }
}

/// A file that nobody has written: names of workloads and nodes are in it, so it is for its owner alone.
fn create(folder: &Path, term: i64) -> io::Result<(PathBuf, File)> {
    if !folder.is_dir() {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)?;
    }
    let mut last = io::Error::from(io::ErrorKind::AlreadyExists);
    for again in 0..FILES {
        let name = match again {
            0 => format!("term-{term}.jsonl"),
            again => format!("term-{term}.{again}.jsonl"),
        };
        let path = folder.join(name);
        let made = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path);
        match made {
            Ok(file) => return Ok((path, file)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => last = error,
            Err(error) => return Err(error),
        }
    }
    Err(last)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::TargetName;
    use crate::record::Replay;

    fn step(number: i64) -> Step {
        Step::Refused(TargetName::from("east"), number)
    }

    fn lines(folder: &Path, name: &str) -> Vec<String> {
        let text = std::fs::read_to_string(folder.join(name)).expect("a recording");
        text.split_inclusive('\n').map(str::to_owned).collect()
    }

    fn replayed(lines: &[String]) -> crate::record::Summary {
        let mut replay = Replay::new();
        for line in lines {
            replay.line(line).expect("a good line");
        }
        replay.summary()
    }

    #[test]
    fn a_recording_has_everything_and_an_end() {
        let folder = std::env::temp_dir().join(format!("inhaul-recorder-{}", std::process::id()));
        let recording = Recording {
            folder: folder.clone(),
            most: 1 << 20,
        };
        let mut recorder = Recorder::begin(&recording, 7, 0).expect("a recorder");
        for number in 0..100 {
            assert!(recorder.take(vec![step(2 * number), step(2 * number + 1)]));
        }
        drop(recorder);
        let all = lines(&folder, "term-7.jsonl");
        assert_eq!(all.len(), 202);
        assert_eq!(replayed(&all).end.as_deref(), Some("the scheduler stopped"));
        // The same term again does not touch what is there.
        let small = Recording {
            most: 400,
            ..recording
        };
        let mut recorder = Recorder::begin(&small, 7, 0).expect("a recorder");
        assert!(recorder.take((0..100).map(step).collect()));
        drop(recorder);
        let some = lines(&folder, "term-7.1.jsonl");
        let bytes: usize = some.iter().map(String::len).sum();
        assert!((3..20).contains(&some.len()) && bytes < 600, "{some:?}");
        let end = replayed(&some).end;
        assert_eq!(end.as_deref(), Some("it was as large as it may be"));
        assert_eq!(lines(&folder, "term-7.jsonl"), all);
        std::fs::remove_dir_all(&folder).expect("removed");
    }
}
