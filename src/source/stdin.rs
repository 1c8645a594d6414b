//! The stdin source: standard input, and FIFOs and devices that are read like it.
//!
//! A thread of its own reads: a read that never ends must not keep the process, and whoever presses
//! Ctrl-C presses no Enter. At most `READS` reads wait for room.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::time::Instant;

use bytes::Bytes;
use futures::FutureExt as _;
use tokio::sync::mpsc;

use super::fanout::{Fanout, JOIN_BYTES};
use super::quiet::{self, Patience, Quiet, until};
use super::session::{End, Session};
use super::{Common, Ends, SourceContext, SourceError};
use crate::framing::{Framer, Pool, RecordLimits, Start, Taken};
use crate::model::{Position, StreamKey};
use crate::queue::Closed;

/// Reads that wait for room, each of at most [`READ_BYTES`].
const READS: usize = 2;

/// The capacity of a pipe.
const READ_BYTES: usize = 64 * 1024;

/// What is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StdinConfig {
    /// Where the bytes come from.
    pub input: Input,
}

/// Where the bytes come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// File descriptor 0.
    Stdin,
    /// A pipe or device by its path; the source ends with it.
    Pipe(PathBuf),
    /// A named FIFO: it is opened again for the next writer.
    Fifo(PathBuf),
}

/// Reads until the end of the input or until told to stop.
pub(super) async fn run(
    common: Common,
    config: StdinConfig,
    cx: SourceContext,
) -> Result<(), SourceError> {
    let mut fanout = Fanout::new(&common, StreamKey::new(config.input.name()), &cx);
    let mut session = Session::new(common.name, Ends::WithFirstConnection, cx);
    let limits = RecordLimits {
        line_bytes_max: common.line_bytes_max,
        records: usize::MAX,
        bytes: JOIN_BYTES,
    };
    let (pool, start) = (Pool::default(), Start::default());
    let mut framer = Framer::new(pool, start, &common.recording, limits);
    let patience = Patience {
        record: common.recording.timeout(),
        line: None,
    };
    let mut quiet = Quiet::default();
    let (sender, mut reads) = mpsc::channel(READS);
    let reader = std::thread::Builder::new()
        .name("stdin".to_owned())
        .spawn(move || read_all(&config.input, &sender));
    let mut end = match reader {
        Ok(_) => None,
        Err(error) => Some(End::cut(format!("cannot start a thread: {error}"))),
    };
    while end.is_none() {
        let (due, wake) = quiet.look(&framer, patience, Instant::now());
        let read = tokio::select! {
            biased;
            () = session.stopped() => break,
            read = reads.recv() => Some(read),
            () = until(wake) => None,
        };
        let mut taken = None;
        match (read, due) {
            (Some(read), _) => end = join(&mut framer, read, &mut reads, &mut session),
            (None, Some(due)) => taken = quiet::take(&mut framer, due),
            // It is due at the next look.
            (None, None) => {}
        }
        if forward(&mut framer, taken, &mut fanout).await.is_err() {
            end = Some(End::Closed);
        }
        session.counters().unparsed.add(framer.take_unparsed());
    }
    if !matches!(end, Some(End::Closed)) {
        // What has no newline at the end of the input is a line, and behind it nothing is waited for.
        let rest = match end {
            Some(_) => framer.finish(),
            None => framer.close_all(),
        };
        if forward(&mut framer, rest, &mut fanout).await.is_err() {
            end = Some(End::Closed);
        }
    }
    session.after(end.unwrap_or(End::Stopped), None).await;
    Ok(())
}

impl Input {
    fn name(&self) -> String {
        match self {
            Self::Stdin => "stdin".to_owned(),
            Self::Pipe(path) | Self::Fifo(path) => path.display().to_string(),
        }
    }
}

/// What the thread hands over. Nothing more comes after the end of the input or an error.
type Read = io::Result<Event>;

#[derive(Debug)]
enum Event {
    Opened,
    Bytes(Bytes),
}

/// Feeds what came and whatever else is there already; returns how the input ended, if it did.
fn join(
    framer: &mut Framer,
    first: Option<Read>,
    reads: &mut mpsc::Receiver<Read>,
    session: &mut Session,
) -> Option<End> {
    let mut next = first;
    let mut joined = 0;
    loop {
        match next {
            None => return Some(End::Complete),
            Some(Err(error)) => return Some(End::cut(error.to_string())),
            Some(Ok(Event::Opened)) => session.opened(),
            Some(Ok(Event::Bytes(bytes))) => {
                joined += bytes.len();
                framer.extend(&bytes);
            }
        }
        if joined >= JOIN_BYTES {
            return None;
        }
        next = reads.recv().now_or_never()?;
    }
}

/// Sends what was taken, and every whole line behind it.
async fn forward(
    framer: &mut Framer,
    first: Option<Taken>,
    fanout: &mut Fanout,
) -> Result<(), Closed> {
    let mut next = first.or_else(|| framer.take());
    while let Some(taken) = next {
        if let Some(lines) = taken.lines {
            fanout.push(lines, Position::Live).await?;
        }
        next = framer.take();
    }
    Ok(())
}

/// Reads to the end, or until nobody wants more. Blocks.
fn read_all(input: &Input, reads: &mpsc::Sender<Read>) {
    let ended = match input {
        Input::Stdin => stdin().and_then(|file| read_one(file, reads)),
        Input::Pipe(path) => File::open(path).and_then(|file| read_one(file, reads)),
        Input::Fifo(path) => read_fifo(path, reads),
    };
    if let Err(error) = ended {
        // Nobody may be waiting any more.
        let _ = reads.blocking_send(Err(error));
    }
}

fn stdin() -> io::Result<File> {
    // Of its own: the standard library's handle holds a lock and a buffer.
    Ok(File::from(io::stdin().as_fd().try_clone_to_owned()?))
}

/// Waits for one writer after the other, for ever.
fn read_fifo(path: &Path, reads: &mpsc::Sender<Read>) -> io::Result<()> {
    while !reads.is_closed() {
        read_one(File::open(path)?, reads)?;
    }
    Ok(())
}

fn read_one(mut file: File, reads: &mpsc::Sender<Read>) -> io::Result<()> {
    let mut buffer = vec![0; READ_BYTES];
    let mut open = reads.blocking_send(Ok(Event::Opened)).is_ok();
    while open {
        match file.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(len) => {
                let bytes = Bytes::copy_from_slice(&buffer[..len]);
                open = reads.blocking_send(Ok(Event::Bytes(bytes))).is_ok();
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;
    use crate::checkpoint::Checkpoints;
    use crate::source::SourceKind;
    use crate::source::testing::{beside, source, within};

    fn fifo(folder: &Path) -> PathBuf {
        let path = folder.join("fifo");
        let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
        rustix::fs::mkfifoat(rustix::fs::CWD, &path, mode).unwrap();
        path
    }

    /// Opening waits for a reader, so it has a thread of its own.
    fn write(path: &Path, text: &'static str) -> std::thread::JoinHandle<()> {
        let path = path.to_owned();
        std::thread::spawn(move || {
            let mut file = File::options().write(true).open(path).unwrap();
            file.write_all(text.as_bytes()).unwrap();
        })
    }

    fn input(input: Input) -> SourceKind {
        SourceKind::Stdin(StdinConfig { input })
    }

    #[tokio::test]
    async fn a_pipe_ends_with_its_writer_and_its_last_line_is_sent() {
        let folder = tempfile::tempdir().unwrap();
        let path = fifo(folder.path());
        let (source, mut seen) =
            source(input(Input::Pipe(path.clone())), 4096, Checkpoints::none());

        let writer = write(&path, "one\ntwo\nhalf");
        let (ended, lines) = tokio::join!(within(source), seen.lines(3));

        assert!(ended.is_ok());
        assert_eq!(lines, ["one", "two", "half"]);
        assert_eq!(seen.first_attempt.await, Ok(Ok(())));
        writer.join().unwrap();
    }

    // Scenario: a line comes in two reads. Bug: the unfinished half was taken after each read, also
    // before the end, and thrown away. Fix: it is taken at the end only.
    #[tokio::test]
    async fn a_line_in_two_reads_is_one_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = fifo(folder.path());
        let (source, mut seen) =
            source(input(Input::Pipe(path.clone())), 4096, Checkpoints::none());
        let mut source = std::pin::pin!(source);
        let (go_on, told) = std::sync::mpsc::sync_channel::<()>(1);
        let writer = std::thread::spawn(move || {
            let mut file = File::options().write(true).open(path).unwrap();
            file.write_all(b"one\ntw").unwrap();
            told.recv().unwrap();
            file.write_all(b"o\nthr").unwrap();
            told.recv().unwrap();
            file.write_all(b"ee").unwrap();
        });

        let first = beside(&mut source, seen.lines(1)).await;
        go_on.send(()).unwrap();
        let second = beside(&mut source, seen.lines(1)).await;
        go_on.send(()).unwrap();
        let (_, last) = tokio::join!(within(source), seen.lines(1));

        assert_eq!([first, second, last].concat(), ["one", "two", "three"]);
        writer.join().unwrap();
    }

    #[tokio::test]
    async fn a_named_fifo_waits_for_the_next_writer_until_stopped() {
        let folder = tempfile::tempdir().unwrap();
        let path = fifo(folder.path());
        let (source, mut seen) =
            source(input(Input::Fifo(path.clone())), 4096, Checkpoints::none());
        let mut source = std::pin::pin!(source);

        for text in ["one\n", "two\n"] {
            let writer = write(&path, text);
            let lines = beside(&mut source, seen.lines(1)).await;
            assert_eq!(lines, [text.trim_end()]);
            writer.join().unwrap();
        }
        seen.shutdown.cancel();

        assert!(within(source).await.is_ok());
    }

    #[tokio::test]
    async fn what_cannot_be_opened_is_told() {
        let nowhere = Input::Pipe(PathBuf::from("/nowhere/fifo"));
        let (source, seen) = source(input(nowhere), 4096, Checkpoints::none());

        assert!(within(source).await.is_ok());

        let told = seen.first_attempt.await.unwrap().unwrap_err().trouble;
        assert_eq!(
            told,
            "cannot read app: No such file or directory (os error 2)"
        );
    }
}
