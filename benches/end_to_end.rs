//! The binary as a whole: how fast it moves a file, what that costs, and beside it the tool that
//! does the least possible work, in the same run.
//!
//! `cargo bench --bench end_to_end` moves 256 MB; `LOGWEIR_BENCH_MB=1000` moves a gigabyte.

use std::fs::File;
use std::io::{self, BufWriter, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

const BINARY: &str = env!("CARGO_BIN_EXE_logweir");
const LINE_BYTES: u64 = 200;

fn main() -> io::Result<()> {
    // `cargo test --benches` only asks whether it runs.
    let megabytes = match std::env::var("LOGWEIR_BENCH_MB") {
        Ok(text) => text.parse().map_err(io::Error::other)?,
        Err(_) if std::env::args().any(|arg| arg == "--bench") => 256,
        Err(_) => 4,
    };
    let dir = tempfile::tempdir()?;
    let input = dir.path().join("in.log");
    let bytes = write_input(&input, megabytes)?;
    say("work", "MB/s", "CPU-s/GB", "RSS MiB");
    for round in 1..=3 {
        let round_dir = dir.path().join(round.to_string());
        std::fs::create_dir(&round_dir)?;
        pipe("cat -> pipe", Command::new("cat").arg(&input), bytes)?;
        let tail = ["tail", "-q", "-r", "-n", "all"];
        pipe(
            "file -> stdout, raw",
            Command::new(BINARY).args(tail).arg(&input),
            bytes,
        )?;
        file(&round_dir, &input, bytes)?;
        if let Some(curl) = curl(&input, bytes)? {
            curl.print("curl -T -> HTTP");
        }
        for (name, sink) in [
            ("file -> HTTP, raw", "format = \"raw\""),
            ("file -> HTTP, JSON", "format = \"json\""),
            (
                "file -> HTTP, JSON, gzip",
                "format = \"json\"\ncompression = \"gzip\"",
            ),
            (
                "file -> HTTP, JSON, zstd",
                "format = \"json\"\ncompression = \"zstd\"",
            ),
        ] {
            http(name, sink, &round_dir, &input, bytes)?;
        }
    }
    Ok(())
}

/// Writes numbered lines of 200 bytes.
fn write_input(path: &Path, megabytes: u64) -> io::Result<u64> {
    let mut out = BufWriter::with_capacity(1 << 20, File::create(path)?);
    let lines = megabytes * 1_000_000 / LINE_BYTES;
    for n in 0..lines {
        let text = format!(
            "2026-11-22T18:25:48.123Z INFO request id={n:010} method=GET path=/api/v1/items/{} \
             status=200 bytes={} agent=Mozilla/5.0 (X11; Linux x86_64) referer=- upstream=10.0.0.7",
            n % 1000,
            n % 50_000
        );
        writeln!(out, "{text:.<199.199}")?;
    }
    out.flush()?;
    Ok(lines * LINE_BYTES)
}

/// What a run cost.
struct Cost {
    bytes: u64,
    wall: Duration,
    cpu_s: f64,
    peak_mib: f64,
}

impl Cost {
    fn of(child: &Child, bytes: u64, started: Instant) -> io::Result<Self> {
        let wall = started.elapsed();
        let proc = |name| std::fs::read_to_string(format!("/proc/{}/{name}", child.id()));
        let stat = proc("stat")?;
        // utime and stime are fields 14 and 15; the name in field 2 may hold spaces.
        let after_name = stat.rsplit(')').next().unwrap_or_default();
        let ticks = after_name.split_whitespace().skip(11).take(2);
        let ticks: u64 = ticks.filter_map(|field| field.parse::<u64>().ok()).sum();
        let status = proc("status")?;
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let peak = peak.and_then(|text| text.trim().split(' ').next()?.parse::<f64>().ok());
        // USER_HZ is 100 on every Linux.
        let cpu_s = ticks as f64 / 100.0;
        Ok(Self {
            bytes,
            wall,
            cpu_s,
            peak_mib: peak.unwrap_or(0.0) / 1024.0,
        })
    }

    fn print(&self, name: &str) {
        let gigabytes = self.bytes as f64 / 1e9;
        let speed = 1000.0 * gigabytes / self.wall.as_secs_f64();
        let cpu = self.cpu_s / gigabytes;
        say(
            name,
            &format!("{speed:.0}"),
            &format!("{cpu:.2}"),
            &format!("{:.1}", self.peak_mib),
        );
    }
}

fn say(name: &str, speed: &str, cpu: &str, peak: &str) {
    let _ = writeln!(io::stdout(), "{name:<28}{speed:>8}{cpu:>10}{peak:>10}");
}

/// Reads a command's stdout to the expected length.
fn pipe(name: &str, command: &mut Command, bytes: u64) -> io::Result<()> {
    let started = Instant::now();
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    let mut out = child.stdout.take().expect("piped");
    let mut buffer = vec![0; 1 << 20];
    let mut left = bytes;
    while left > 0 {
        let read = out.read(&mut buffer)? as u64;
        if read == 0 {
            return Err(io::Error::other(format!(
                "{name}: {left} bytes are missing"
            )));
        }
        left -= read;
    }
    let cost = Cost::of(&child, bytes, started)?;
    end(child)?;
    cost.print(name);
    Ok(())
}

fn end(mut child: Child) -> io::Result<()> {
    child.kill()?;
    child.wait().map(drop)
}

fn run(dir: &Path, input: &Path, sink: &str) -> io::Result<Child> {
    let config = dir.join("agent.toml");
    let state = dir.join("state");
    let _ = std::fs::remove_dir_all(&state);
    let (input, state) = (input.display(), state.display());
    let text = format!(
        "[source.app]\npath = \"{input}\"\n[sink.out]\n{sink}\n[agent]\nstate = \"{state}\"\n"
    );
    std::fs::write(&config, text)?;
    Command::new(BINARY)
        .args(["run", "-c"])
        .arg(config)
        .stderr(Stdio::null())
        .spawn()
}

fn file(dir: &Path, input: &Path, bytes: u64) -> io::Result<()> {
    let output = dir.join("out.log");
    let started = Instant::now();
    let child = run(
        dir,
        input,
        &format!("path = \"{}\"\nformat = \"raw\"", output.display()),
    )?;
    wait_for(|| std::fs::metadata(&output).is_ok_and(|it| it.len() >= bytes));
    let cost = Cost::of(&child, bytes, started)?;
    end(child)?;
    std::fs::remove_file(&output)?;
    cost.print("file -> file, raw");
    Ok(())
}

fn http(name: &str, sink: &str, dir: &Path, input: &Path, bytes: u64) -> io::Result<()> {
    let collector = Collector::start(sink.contains("compression"))?;
    let sink = format!("url = \"http://{}/\"\n{sink}", collector.address);
    let started = Instant::now();
    let child = run(dir, input, &sink)?;
    let wanted = bytes / LINE_BYTES;
    if collector.compressed {
        let journal = dir.join("state/journal");
        wait_for(|| settled(&journal) >= bytes);
    } else {
        wait_for(|| collector.lines.load(Ordering::Relaxed) >= wanted);
    }
    let cost = Cost::of(&child, bytes, started)?;
    end(child)?;
    cost.print(name);
    if collector.compressed {
        let body = collector.bytes.load(Ordering::Relaxed) as f64;
        say(
            "  input : body",
            &format!("{:.1}", bytes as f64 / body),
            "",
            "",
        );
    }
    Ok(())
}

/// The highest offset that a journal speaks of.
fn settled(journal: &Path) -> u64 {
    let text = std::fs::read_to_string(journal).unwrap_or_default();
    let offset = |line: &str| {
        line.split("\"offset\":")
            .nth(1)?
            .split(|c: char| !c.is_ascii_digit())
            .next()?
            .parse()
            .ok()
    };
    text.lines().rev().find_map(offset).unwrap_or(0)
}

fn curl(input: &Path, bytes: u64) -> io::Result<Option<Cost>> {
    let collector = Collector::start(false)?;
    let started = Instant::now();
    let curl = Command::new("curl")
        .args(["-s", "-H", "Expect:", "-T"])
        .arg(input)
        .arg(format!("http://{}/", collector.address))
        .spawn();
    let Ok(mut child) = curl else {
        return Ok(None);
    };
    let wanted = bytes / LINE_BYTES;
    wait_for(|| collector.lines.load(Ordering::Relaxed) >= wanted);
    let wall = started.elapsed();
    child.wait()?;
    Ok(Some(Cost {
        bytes,
        wall,
        cpu_s: f64::NAN,
        peak_mib: f64::NAN,
    }))
}

#[expect(
    clippy::disallowed_methods,
    reason = "a benchmark looks at progress from outside"
)]
fn wait_for(mut done: impl FnMut() -> bool) {
    while !done() {
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Counts newlines and answers 200.
struct Collector {
    address: std::net::SocketAddr,
    lines: Arc<AtomicU64>,
    bytes: Arc<AtomicU64>,
    compressed: bool,
}

impl Collector {
    fn start(compressed: bool) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let (lines, bytes) = (Arc::<AtomicU64>::default(), Arc::<AtomicU64>::default());
        let counts = (Arc::clone(&lines), Arc::clone(&bytes));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (lines, bytes) = (Arc::clone(&counts.0), Arc::clone(&counts.1));
                std::thread::spawn(move || serve(stream, &lines, &bytes));
            }
        });
        Ok(Self {
            address,
            lines,
            bytes,
            compressed,
        })
    }
}

/// Serves one connection until it is closed.
fn serve(mut stream: TcpStream, lines: &AtomicU64, bytes: &AtomicU64) -> io::Result<()> {
    let mut buffer = vec![0; 1 << 20];
    let mut filled = 0;
    loop {
        let header_end = loop {
            if let Some(at) = memchr::memmem::find(&buffer[..filled], b"\r\n\r\n") {
                break at + 4;
            }
            match stream.read(&mut buffer[filled..])? {
                0 => return Ok(()),
                read => filled += read,
            }
        };
        let header = String::from_utf8_lossy(&buffer[..header_end]).to_ascii_lowercase();
        let length = header.split("content-length:").nth(1);
        let length = length.and_then(|rest| rest.split("\r\n").next()?.trim().parse::<u64>().ok());
        let mut left = length.ok_or_else(|| io::Error::other("no Content-Length"))?;
        bytes.fetch_add(left, Ordering::Relaxed);
        let mut from = header_end;
        let mut count = 0;
        loop {
            let body = &buffer[from..filled];
            let body = &body[..body.len().min(usize::try_from(left).unwrap_or(usize::MAX))];
            count += memchr::memchr_iter(b'\n', body).count() as u64;
            left -= body.len() as u64;
            from += body.len();
            if left == 0 {
                break;
            }
            filled = stream.read(&mut buffer)?;
            from = 0;
            if filled == 0 {
                return Ok(());
            }
        }
        lines.fetch_add(count, Ordering::Relaxed);
        buffer.copy_within(from..filled, 0);
        filled -= from;
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")?;
    }
}
