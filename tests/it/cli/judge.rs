//! Any bytes in, valid JSON out: `jq` is the judge, which ends a whole pipe at the first bad line.

use std::io::Write;

use crate::support::{Dir, Logweir, Rng, has_tool};

/// Megabytes of fuzzed input: LOGWEIR_FUZZ_MB, else 50 in CI and 5 elsewhere.
fn megabytes() -> usize {
    match std::env::var("LOGWEIR_FUZZ_MB") {
        Ok(text) => text.parse().expect("LOGWEIR_FUZZ_MB is a number"),
        Err(_) if std::env::var_os("CI").is_some_and(|ci| ci == "true") => 50,
        Err(_) => 5,
    }
}

/// Lines to start from: what writers write, and what no writer should.
fn seeds() -> Vec<Vec<u8>> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/logs");
    let mut seeds: Vec<Vec<u8>> = Vec::new();
    for entry in std::fs::read_dir(folder).expect("lists the samples") {
        let bytes = std::fs::read(entry.expect("lists the samples").path()).expect("a sample");
        seeds.extend(bytes.split(|byte| *byte == b'\n').map(<[u8]>::to_vec));
    }
    let odd: [&[u8]; 14] = [
        br#"{"_time":1,"_source":2,"_msg":3,"\u005fmsg":4}"#,
        br#"{"a":"\ud800"}"#,
        br#"{"a":"\udc00\ud800","b":"\ud83d\ude00"}"#,
        br#"{"a":1e999999,"b":-0.0,"c":123456789012345678901234567890}"#,
        br#"{"a":1}{"b":2}"#,
        br#"{"a":1},"#,
        br#"{"a":"tab	inside"}"#,
        br#"{"a":01,"b":.5,"c":+1,"d":NaN}"#,
        br#"[1,2]"#,
        br#""text""#,
        b"{}",
        b"{\"a\":\"\xff\xfe\"}",
        b"\xef\xbb\xbf{\"a\":1}",
        b"\x00\x1b[31m\x7f\xc2\x9b",
    ];
    seeds.extend(odd.iter().map(|it| it.to_vec()));
    seeds.push([vec![b'['; 3_000], vec![b']'; 3_000]].concat());
    seeds.push([b"{\"a\":".repeat(300), b"1".to_vec(), vec![b'}'; 300]].concat());
    seeds
}

/// A line that something happened to.
fn mutated(line: &[u8], rng: &mut Rng) -> Vec<u8> {
    let mut line = line.to_vec();
    for _ in 0..rng.below(0..4) {
        let at = usize::try_from(rng.below(0..line.len() as u64 + 1)).expect("an index");
        match rng.below(0..5) {
            0 => line.truncate(at),
            1 => line.insert(at, rng.below(0..256) as u8),
            2 => line
                .splice(at.., b"\"\\{}[],:\xf0\x9f".iter().copied())
                .for_each(drop),
            3 if at < line.len() => line[at] = rng.below(0..256) as u8,
            _ => {
                let doubled = line[at..].to_vec();
                line.extend(doubled);
            }
        }
    }
    line.retain(|byte| *byte != b'\n');
    line
}

#[test]
fn jq_reads_every_line_whatever_the_bytes_were() {
    let test = "jq_reads_every_line_whatever_the_bytes_were";
    if !has_tool(test, "jq") {
        return;
    }
    let mut rng = Rng::printed(test);
    let (dir, seeds) = (Dir::new(), seeds());
    let file = std::fs::File::create(dir.path("app.log")).expect("creates a log");
    let mut file = std::io::BufWriter::new(file);
    let (mut n_bytes, mut n_lines) = (0, 0_u64);
    while n_bytes < megabytes() << 20 {
        let seed = usize::try_from(rng.below(0..seeds.len() as u64)).expect("an index");
        let line = mutated(&seeds[seed], &mut rng);
        file.write_all(&line).expect("writes a log");
        file.write_all(b"\n").expect("writes a log");
        n_bytes += line.len() + 1;
        n_lines += 1;
    }
    file.flush().expect("writes a log");
    let script = r#""$@" | jq -nc 'reduce inputs as $line ({}; .[$line | type] += 1)'"#;
    let args = [
        "tail",
        "-q",
        "--no-follow",
        "-n",
        "all",
        "-o",
        "json",
        &dir.text("app.log"),
    ];

    let ended = Logweir::shell(&dir, script, args)
        .start()
        .wait_for(std::time::Duration::from_secs(600));

    let counted = String::from_utf8_lossy(&ended.stdout).into_owned();
    assert_eq!(
        counted,
        format!("{{\"object\":{n_lines}}}\n"),
        "{}",
        ended.stderr
    );
}
