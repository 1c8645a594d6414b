//! Lines that are written in pieces, slowly, too long, or of bytes that are no text.

use std::fs::File;
use std::io::Write;
use std::time::Duration;

use crate::support::{Dir, Logweir, Plan, Rng, Rotation, line, pass, within};

use super::{DRAIN, Scene, copy_config};

/// Lines whose every boundary is awkward: inside UTF-8 sequences and between CR and LF.
fn awkward(n_lines: usize) -> Vec<u8> {
    let text = |n| format!("{n} grün 日本 😀\r\n\r\n");
    (0..n_lines).flat_map(|n| text(n).into_bytes()).collect()
}

#[test]
fn lines_that_are_cut_inside_characters_and_line_ends_arrive_as_they_were() {
    let mut rng = Rng::printed("cut anywhere");
    let scene = Scene::new("app.log", "");
    let bytes = awkward(120);
    let written = bytes.clone();
    let path = scene.dir.path("app.log");
    let mut chance = rng.fork();
    // Every second write ends inside a character or a line end.
    let writer = std::thread::spawn(move || {
        let mut file = File::create(path).unwrap();
        let mut rest = written.as_slice();
        while !rest.is_empty() {
            let (piece, after) = rest.split_at(chance.below(1..6).min(rest.len() as u64) as usize);
            file.write_all(piece).unwrap();
            pass(Duration::from_micros(chance.below(0..2_000)));
            rest = after;
        }
    });

    while !writer.is_finished() {
        let agent = scene.start();
        pass(rng.millis(50..400));
        agent.kill();
    }
    writer.join().unwrap();
    let agent = scene.start();

    scene.expect(&agent, &bytes);
}

#[test]
fn a_slow_line_arrives_whole_and_only_with_its_newline() {
    let scene = Scene::new("app.log", "");
    let mut file = File::create(scene.dir.path("app.log")).unwrap();
    let agent = scene.start();

    for piece in ["o", "n", "e"] {
        file.write_all(piece.as_bytes()).unwrap();
        agent.wait_idle();
        assert_eq!(scene.dir.read("out.log"), b"");
    }
    file.write_all(b"\ntwo").unwrap();

    scene.expect(&agent, "one\n");
}

// The pieces of a line that is longer than `max_line` come with kills between them.
#[test]
fn overlong_lines_are_cut_once_through_kills() {
    let mut rng = Rng::printed("overlong lines");
    let scene = Scene::new("app.log", "max_line = \"4KiB\"");
    let mut file = File::create(scene.dir.path("app.log")).unwrap();
    let mut expected = Vec::new();
    let agent_of = |expected: &[u8]| {
        let agent = scene.start();
        scene.expect(&agent, expected);
        agent
    };

    for n in 0..6 {
        let whole = line(1, n, 100);
        let long = line(2, n, 20_000);
        writeln!(file, "{whole}").unwrap();
        expected.extend_from_slice(whole.as_bytes());
        expected.push(b'\n');
        let (start, end) = long.split_at(rng.below(4_097..19_000) as usize);
        file.write_all(start.as_bytes()).unwrap();
        expected.extend_from_slice(&long.as_bytes()[..4_096]);
        expected.push(b'\n');
        // The line is given up at its limit, before its end is there.
        agent_of(&expected).kill();
        let (middle, end) = end.split_at(end.len() / 2);
        file.write_all(middle.as_bytes()).unwrap();
        let agent = agent_of(&expected);
        agent.wait_idle();
        agent.kill();
        file.write_all(end.as_bytes()).unwrap();
        file.write_all(b"\n").unwrap();
    }
    file.write_all(b"last\n").unwrap();
    expected.extend_from_slice(b"last\n");

    agent_of(&expected).kill();
}

#[test]
fn bytes_that_are_no_text_arrive_as_they_were() {
    let mut rng = Rng::printed("no text");
    let scene = Scene::new("app.log", "");
    let byte = |rng: &mut Rng| match rng.below(0..4) {
        0 => 0,
        1 => rng.below(0x80..0x100) as u8,
        2 => b'\r',
        _ => rng.below(0..0x100) as u8,
    };
    let mut bytes: Vec<u8> = (0..50_000).map(|_| byte(&mut rng)).collect();
    bytes.push(b'\n');
    scene.dir.write("app.log", &bytes[..20_000]);
    // What it read of the first part is not known, so whole lines are waited for.
    let whole = bytes[..20_000].iter().rposition(|it| *it == b'\n').unwrap() + 1;
    let agent = scene.start();
    scene.expect(&agent, &bytes[..whole]);
    agent.kill();

    scene.dir.append("app.log", &bytes[20_000..]);
    let agent = scene.start();

    scene.expect(&agent, &bytes);
}

#[test]
fn bytes_that_are_no_text_are_valid_json() {
    let dir = Dir::new();
    let toml = copy_config("app.log", "").replace("\"raw\"", "\"json\"");
    let config = dir.config(&toml);
    let lines: [&[u8]; 6] = [
        b"nul \0 nul",
        b"\xff\xfe\xfd",
        b"half \xe6\x97",
        b"\x1b[31mred\x07",
        b"{\"broken\":\"\xff\"}",
        b"",
    ];
    dir.write("app.log", [&lines.join(&b'\n')[..], b"\n"].concat());
    let agent = Logweir::run(&dir, &config).start();

    let out = within("six lines", DRAIN, || {
        let out = String::from_utf8(dir.read("out.log")).expect("JSON is UTF-8");
        (out.lines().count() == lines.len() && out.ends_with('\n')).then_some(out)
    });

    let messages: Vec<String> = out
        .lines()
        .map(|line| {
            let value: serde_json::Value = serde_json::from_str(line).expect("JSON");
            value["_msg"].as_str().expect("a message").to_owned()
        })
        .collect();
    let expected = lines.map(|line| String::from_utf8_lossy(line).into_owned());
    assert_eq!(messages, expected);
    agent.kill();
}

#[test]
fn long_lines_of_torn_writes_and_renames_lose_nothing_to_kills() {
    let scene = Scene::new("app.log", "");
    let plan = Plan {
        line_bytes: 60_000,
        per_second: 200,
        torn: true,
        rotation: Rotation::Rename { every: 40 },
        ..scene.plan(300)
    };

    scene.trial("long lines", &plan, 5);
}
