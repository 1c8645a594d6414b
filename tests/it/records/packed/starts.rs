//! Where reading of compressed files starts that are there at the first sight.

use super::*;

#[test]
fn start_at_the_end_passes_over_what_was_there() {
    for pack in [gzip, zstd] {
        for is_old in [false, true] {
            let dir = Dir::new();
            dir.write("app.log.1.gz", pack(lines(0, 3_000).as_bytes()));
            if is_old {
                age(&dir, "app.log.1.gz");
            }
            let agent = start_all(&dir, "start = \"end\"");
            agent.wait_listening();
            pass(A_WHILE);
            let new = lines(3_000, 100);
            dir.append("app.log", &new);
            expect(&dir, &agent, new.as_bytes());
            // What is appended is new.
            let more = lines(3_100, 100);
            dir.append("app.log.1.gz", pack(more.as_bytes()));
            // Only a change of the directory tells of what was left for long.
            dir.write("app.other", "");
            if !is_old {
                expect(&dir, &agent, (new.clone() + &more).as_bytes());
            }
            agent.kill();
        }
    }
}

#[test]
fn an_old_compressed_file_is_ignored_and_a_young_one_read() {
    let dir = Dir::new();
    dir.write("app.log.2.gz", gzip(lines(0, 3_000).as_bytes()));
    age(&dir, "app.log.2.gz");
    let young = lines(3_000, 3_000);
    dir.write("app.log.1.gz", gzip(young.as_bytes()));

    let agent = start_all(&dir, "ignore_older = \"30m\"");

    expect(&dir, &agent, young.as_bytes());
    dir.append("app.log", "new\n");
    expect(&dir, &agent, (young + "new\n").as_bytes());
}

#[test]
fn compressed_files_can_be_excluded() {
    let dir = Dir::new();
    dir.write("app.log.1.gz", gzip(lines(0, 3_000).as_bytes()));
    dir.write("app.log", "new\n");

    let agent = start_all(&dir, "exclude_path = \"*.gz\"");
    expect(&dir, &agent, b"new\n");
    pass(A_WHILE);

    expect(&dir, &agent, b"new\n");
}
