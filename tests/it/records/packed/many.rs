//! Very many compressed files: what is not being read takes neither descriptors nor memory.

use super::*;

#[test]
fn a_thousand_compressed_files_take_little_and_are_read_once() {
    let dir = Dir::new();
    for n in 0..1_000 {
        let pack = if n % 2 == 0 { gzip } else { zstd };
        let text = lines(n * 50, 50);
        dir.write(&format!("app.{n:04}.log.gz"), pack(text.as_bytes()));
        age(&dir, &format!("app.{n:04}.log.gz"));
    }
    let written = [(1, 50_000)];
    let report = || Oracle::file(&dir.path("out.txt")).report(&written);

    let agent = start_all(&dir, "");
    let mut most = 0;
    within("all lines", 6 * PATIENCE, || {
        most = most.max(agent.descriptors());
        (report().missing == 0).then_some(())
    });
    let peak = agent.peak_kib();
    agent.kill();
    // Each is a file of its own: they are read side by side.
    let read = report();
    assert_eq!((read.lines, read.duplicate, read.malformed), (50_000, 0, 0));
    let out = dir.read("out.txt");
    let agent = start_all(&dir, "");
    dir.append("app.new", "new\n");
    expect(&dir, &agent, &[&out[..], b"new\n"].concat());

    eprintln!(
        "descriptors {most}, peak {peak} KiB, again {} KiB",
        agent.peak_kib()
    );
    // What is found at the first look is decided on 256 files at a time.
    assert!(most < 300, "{most} descriptors");
    assert!(peak < 40 << 10, "{peak} KiB");
}
