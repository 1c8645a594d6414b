//! How compressed files end, and how they grow: damage, members and frames, programs that still write.

use std::process::Stdio;

use super::*;
use crate::support::has_tool;

type Pack = fn(&[u8]) -> Vec<u8>;

/// A zstd frame that holds no content.
const SKIPPABLE: [u8; 12] = [0x5a, 0x2a, 0x4d, 0x18, 4, 0, 0, 0, 1, 2, 3, 4];

fn packers() -> [Pack; 2] {
    [gzip, zstd]
}

#[test]
fn what_stands_before_damage_is_sent_and_no_other_file_waits() {
    for pack in packers() {
        let dir = Dir::new();
        let (one, two) = (lines(0, 3_000), lines(3_000, 3_000));
        let good = pack(one.as_bytes());
        let mut damaged = pack(two.as_bytes());
        damaged[0] ^= 0xff;
        let rest = pack(b"behind the damage\n");
        dir.write("app.log.1", [&good[..], &damaged, &rest].concat());

        let agent = start_all(&dir, "");
        let lost = damaged.len() + rest.len();
        agent.wait_said(&[
            "is damaged",
            &format!("at={}", good.len()),
            &format!("lost={lost}"),
        ]);
        expect(&dir, &agent, one.as_bytes());
        dir.append("app.log", "another file\n");
        expect(&dir, &agent, (one.clone() + "another file\n").as_bytes());

        let ended = agent.stop();
        assert!(
            ended.stderr.contains(&format!("lost_bytes={lost}")),
            "{}",
            ended.stderr
        );
    }
}

// A program that writes compressed logs itself, such as nginx, ends a member with each flush.
#[test]
fn members_that_are_appended_later_are_read_also_over_a_kill() {
    for pack in packers() {
        let dir = Dir::new();
        let mut text = String::new();
        let mut agent = start_all(&dir, "");
        for round in 0..6 {
            let part = lines(round * 500, 500);
            dir.append("app.log.gz", pack(part.as_bytes()));
            text += &part;
            expect(&dir, &agent, text.as_bytes());
            if round == 3 {
                agent.kill();
                agent = start_all(&dir, "");
            }
        }
    }
}

#[test]
fn a_file_that_the_packer_still_writes_is_not_called_damaged() {
    for packer in ["gzip", "zstd"] {
        if !has_tool(
            "a_file_that_the_packer_still_writes_is_not_called_damaged",
            packer,
        ) {
            continue;
        }
        let dir = Dir::new();
        let agent = start_all(&dir, "");
        let mut shell = Command::new("sh");
        shell.args(["-c", &format!("{packer} -q -c > app.log.1.gz")]);
        shell.current_dir(dir.path("")).stdin(Stdio::piped());
        let mut child = shell.spawn().unwrap();
        let mut input = child.stdin.take().unwrap();
        let text = lines(0, 60_000);
        for part in text.as_bytes().chunks(text.len() / 8) {
            input.write_all(part).unwrap();
            pass(Duration::from_millis(300));
        }
        drop(input);
        assert!(child.wait().unwrap().success());

        expect(&dir, &agent, text.as_bytes());
        let said = agent.said();
        assert!(
            !said.contains("damaged") && !said.contains("in the middle"),
            "{said}"
        );
    }
}

#[test]
fn frames_without_content_are_passed_over() {
    let dir = Dir::new();
    let (one, two) = (lines(0, 2_000), lines(2_000, 2_000));
    let (first, second) = (zstd(one.as_bytes()), zstd(two.as_bytes()));
    let parts: [&[u8]; 7] = [
        &SKIPPABLE,
        &first,
        &SKIPPABLE,
        &SKIPPABLE,
        &second,
        &zstd(b""),
        &SKIPPABLE,
    ];
    dir.write("app.log.zst", parts.concat());

    let agent = start_all(&dir, "");
    expect(&dir, &agent, (one.clone() + &two).as_bytes());
    agent.kill();

    expect_not_again(&dir, &(one + &two));
}

// A file that has another name than its content says, and had no content when it was seen first.
#[test]
fn a_file_that_becomes_compressed_content_is_decompressed() {
    for pack in packers() {
        let dir = Dir::new();
        let text = lines(0, 5_000);
        dir.write("app.txt", "");
        let agent = start_all(&dir, "");
        agent.wait_listening();
        pass(A_WHILE);

        dir.append("app.txt", pack(text.as_bytes()));

        expect(&dir, &agent, text.as_bytes());
    }
}

// Regression. Scenario: a compressed file that was read is written anew in place, while logweir runs
// and while it does not. Bug: how it began was not compared, and what it held was passed over up to
// the old offset. Fix: the first bytes are compared as those of other files are.
#[test]
fn another_content_in_the_same_file_is_read_from_its_start() {
    for pack in packers() {
        let dir = Dir::new();
        let (one, two, three) = (lines(0, 2_000), lines(2_000, 3_000), lines(5_000, 4_000));
        let path = dir.write("app.log.gz", pack(one.as_bytes()));
        let agent = start_all(&dir, "");
        expect(&dir, &agent, one.as_bytes());

        fs::write(&path, pack(two.as_bytes())).unwrap();
        expect(&dir, &agent, (one.clone() + &two).as_bytes());
        agent.kill();
        fs::write(&path, pack(three.as_bytes())).unwrap();
        let agent = start_all(&dir, "");

        expect(&dir, &agent, (one + &two + &three).as_bytes());
    }
}
