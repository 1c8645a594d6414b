//! What bytes mean.

use super::*;
use crate::support::{Oracle, Plan};

fn utf16(text: &str, big: bool) -> Vec<u8> {
    let units = text.encode_utf16();
    units
        .flat_map(|unit| {
            if big {
                unit.to_be_bytes()
            } else {
                unit.to_le_bytes()
            }
        })
        .collect()
}

#[test]
fn the_utf16_file_of_a_program() {
    let dir = Dir::new();
    let bytes = fixture("utf16le.txt");
    dir.write("app.log", &bytes);
    let units: Vec<u16> = bytes[2..]
        .chunks(2)
        .map(|unit| u16::from_le_bytes([unit[0], unit[1]]))
        .collect();
    let text = String::from_utf16(&units).unwrap();

    let agent = start(&dir, "encoding = \"utf-16le\"", "raw");

    expect(&dir, &agent, text.as_bytes());
}

#[test]
fn a_latin1_file_becomes_utf8() {
    let dir = Dir::new();
    let bytes = fixture("latin1.log");
    dir.write("app.log", &bytes);
    let text: String = bytes.iter().map(|byte| char::from(*byte)).collect();
    assert!(!text.is_ascii());

    let agent = start(&dir, "encoding = \"iso-8859-1\"", "raw");

    expect(&dir, &agent, text.as_bytes());
}

#[track_caller]
fn kills(test: &str, encoding: &str, big: bool) {
    let mut rng = Rng::printed(test);
    let dir = Dir::new();
    let plan = Plan::new(dir.path("unused"), 20_000);
    let text = plan.text();
    let bytes = utf16(&format!("\u{feff}{text}"), big);
    let writer = write_torn(&dir, bytes, rng.fork());

    let keys = format!("encoding = \"{encoding}\"");
    let agent = kill_in_a_loop(&dir, &keys, "raw", writer, &mut rng);

    expect(&dir, &agent, text.as_bytes());
    Oracle::file(&dir.path("out.txt"))
        .report(&[(plan.writer, plan.n_lines)])
        .expect_exact();
}

#[test]
fn utf16_is_exact_through_twenty_kills() {
    kills("utf-16le", "utf-16le", false);
}

#[test]
fn utf16_of_the_other_order_is_exact_through_twenty_kills() {
    kills("utf-16be", "utf-16be", true);
}

#[test]
fn utf16_from_the_end_begins_with_the_next_whole_line() {
    let dir = Dir::new();
    let text = utf16("one\ntwo\n", false);
    dir.write("app.log", &text);
    let agent = start(&dir, "start = \"end\"\nencoding = \"utf-16le\"", "raw");
    // Once the file is known, what comes is new.
    within("a position", PATIENCE, || {
        let journal = dir
            .files_below("state")
            .into_iter()
            .map(|it| crate::support::read(&it));
        let journal = journal.flatten().collect::<Vec<u8>>();
        String::from_utf8_lossy(&journal)
            .contains("app.log")
            .then_some(())
    });

    dir.append("app.log", utf16("three\n\u{a0a}four\n", false));

    expect(&dir, &agent, "three\n\u{a0a}four\n".as_bytes());
}

#[test]
fn a_long_line_of_utf16_is_cut_at_a_character() {
    let dir = Dir::new();
    dir.write(
        "app.log",
        utf16(&format!("{}\nnext\n", "\u{20ac}".repeat(1_000)), false),
    );

    let agent = start(&dir, "encoding = \"utf-16le\"\nmax_line = \"1KiB\"", "json");

    expect_messages(&dir, &agent, &["\u{20ac}".repeat(341), "next".to_owned()]);
    assert_eq!(records(&dir)[0]["_truncated"], true);
}

#[test]
fn a_byte_order_mark_is_no_part_of_the_first_line() {
    let dir = Dir::new();
    dir.write("app.log", b"\xef\xbb\xbf{\"n\":1}\ntwo\n");

    let agent = start(&dir, "", "json");
    within("both lines", PATIENCE, || {
        (records(&dir).len() == 2).then_some(())
    });
    assert_eq!(records(&dir)[0]["n"], 1);
    agent.kill();

    let dir = Dir::new();
    dir.write("app.log", b"\xef\xbb\xbfone\ntwo\n");
    let agent = start(&dir, "", "json");
    expect_messages(&dir, &agent, &["one", "two"]);
    agent.kill();

    // Raw without `encoding` is the file as it is.
    let dir = Dir::new();
    dir.write("app.log", b"\xef\xbb\xbfone\n");
    let agent = start(&dir, "", "raw");
    expect(&dir, &agent, b"\xef\xbb\xbfone\n");
    agent.kill();

    let dir = Dir::new();
    dir.write("app.log", b"\xef\xbb\xbfone\n");
    let agent = start(&dir, "encoding = \"utf-8\"", "raw");
    expect(&dir, &agent, b"one\n");
}
