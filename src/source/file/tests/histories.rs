//! Histories that the model found, as short as it could make them.

use super::Step;

/// Histories in which lines were lost or doubled once, each when something happened between two
/// looks: a file was truncated and written anew, then renamed or copied; it came and went; a copy was
/// seen while it was empty, or after the original had grown past it; the process was killed.
pub(super) fn that_went_wrong() -> Vec<Vec<Step>> {
    use Step::{Catch, CopyTruncate, Kill, MoveOver, Pass, Rename, Truncate, Write};
    let (create, none) = (Rename { create: true }, Rename { create: false });
    let absent = none.clone();
    vec![
        vec![Truncate(1), Kill(vec![none.clone()])],
        vec![Truncate(1), CopyTruncate],
        vec![MoveOver(1), Kill(vec![none.clone()])],
        vec![MoveOver(1), Kill(vec![create.clone()])],
        vec![none.clone(), Write(1), none.clone()],
        vec![Kill(vec![CopyTruncate, Write(29), create, Write(20)])],
        vec![Truncate(14), MoveOver(3), CopyTruncate],
        vec![Kill(vec![Write(3), CopyTruncate]), Truncate(1)],
        vec![
            none,
            Write(21),
            CopyTruncate,
            Pass(2),
            CopyTruncate,
            Write(40),
            CopyTruncate,
            Catch,
        ],
        vec![CopyTruncate, Write(4)],
        vec![
            Step::Delete,
            Pass(6),
            Kill(vec![Write(24)]),
            Pass(2),
            absent,
        ],
    ]
}

/// The same with copies that were compressed before they were seen.
pub(super) fn with_compression() -> Vec<Vec<Step>> {
    use Step::{Compress, CopyTruncate, Kill, MoveOver, Pass, Rename, Tear, Truncate, Write};
    let (renamed, absent) = (Rename { create: true }, Rename { create: false });
    vec![
        // What was compressed waited for a file that stayed empty.
        vec![
            Write(26),
            MoveOver(15),
            Pass(6),
            Kill(vec![CopyTruncate, Compress, CopyTruncate]),
            Kill(vec![]),
        ],
        // What was compressed unseen waited for half a minute for files that were renamed or deleted
        // while they were empty.
        vec![
            CopyTruncate,
            absent.clone(),
            Truncate(38),
            CopyTruncate,
            Compress,
            Pass(5),
            CopyTruncate,
            absent.clone(),
            Compress,
        ],
        vec![
            CopyTruncate,
            MoveOver(9),
            CopyTruncate,
            Compress,
            Pass(16),
            Write(14),
            Step::Delete,
        ],
        vec![
            CopyTruncate,
            absent.clone(),
            Compress,
            Write(1),
            absent.clone(),
            Compress,
        ],
        // The compressed copy of one file had the inode of another one, which had been empty when it
        // was seen: it was read for both of them, and what the other one had held never.
        vec![
            absent.clone(),
            Write(24),
            renamed.clone(),
            Pass(4),
            Truncate(29),
            renamed,
            Kill(vec![Compress]),
            Compress,
            Write(1),
        ],
        // The same, of one that was empty when it was renamed before a kill, and of an empty compressed
        // one.
        vec![
            Tear,
            Kill(vec![CopyTruncate]),
            absent.clone(),
            Pass(5),
            Compress,
            MoveOver(6),
            Pass(2),
            CopyTruncate,
            Compress,
        ],
        vec![
            Kill(vec![CopyTruncate, absent]),
            MoveOver(16),
            Truncate(44),
            CopyTruncate,
            Compress,
        ],
    ]
}

/// Histories in which lines were lost because a process was killed within milliseconds of a rotation.
pub(super) fn with_quick_kills() -> Vec<Vec<Step>> {
    use Step::{Catch, Compress, CopyTruncate, Kill, Pass, Rename, Tear, Truncate, Write};
    let (renamed, absent) = (Rename { create: true }, Rename { create: false });
    vec![
        // Nothing was at the path at the start, and all that was known of it had ended: what had come
        // and gone meanwhile was not looked for.
        vec![
            Kill(vec![absent.clone(), Compress]),
            Pass(4),
            Catch,
            Write(14),
            Kill(vec![]),
            absent.clone(),
            Pass(7),
            Truncate(41),
        ],
        // A compressed file that could not be judged at the start was never judged later.
        vec![
            CopyTruncate,
            Pass(3),
            Kill(vec![Write(2)]),
            renamed.clone(),
            absent.clone(),
            Write(26),
            Kill(vec![absent.clone(), absent.clone(), Write(22)]),
            Kill(vec![Compress, CopyTruncate, Write(23)]),
        ],
        // What came after a file that was known by a rotated name was looked for beside that name.
        vec![
            CopyTruncate,
            Compress,
            renamed.clone(),
            Tear,
            Pass(2),
            Catch,
            Compress,
            Kill(vec![CopyTruncate, Compress, Tear, CopyTruncate]),
            Kill(vec![absent.clone(), Write(5), absent.clone()]),
            Pass(5),
            Pass(6),
        ],
    ]
}

/// Histories in which a file came and went behind one that was compressed and read to its end: the path
/// was forgotten with that one.
pub(super) fn behind_compressed() -> Vec<Vec<Step>> {
    use Step::{Catch, Compress, Kill, Pass, Rename, Tear, Write};
    let (renamed, absent) = (Rename { create: true }, Rename { create: false });
    let down = vec![Write(13), Write(26), renamed.clone(), Write(26), Tear];
    vec![
        vec![
            renamed,
            Compress,
            Tear,
            Catch,
            Write(22),
            Kill(vec![Compress]),
            Pass(2),
            absent.clone(),
        ],
        vec![
            Kill(down),
            Kill(vec![Compress, Write(1), Write(18), Write(14), Write(27)]),
            Pass(0),
            Tear,
            absent,
            Pass(7),
            Tear,
        ],
    ]
}

/// Histories in which the inodes of files that were gone were used again.
pub(super) fn with_reused_inodes() -> Vec<Vec<Step>> {
    use Step::{Compress, CopyTruncate, Delete, Kill, Pass, Rename, Tear, Truncate, Write};
    let (renamed, absent) = (Rename { create: true }, Rename { create: false });
    let created = renamed.clone();
    vec![
        // What came after a file that was known by a rotated name was looked for beside that name: one
        // with the inode of the known one was never found.
        vec![
            CopyTruncate,
            Tear,
            Kill(vec![]),
            Pass(2),
            Pass(2),
            Kill(vec![Compress, absent.clone()]),
            Pass(3),
            CopyTruncate,
            absent.clone(),
            Kill(vec![
                Write(9),
                Tear,
                absent.clone(),
                renamed.clone(),
                CopyTruncate,
            ]),
            Delete,
            absent.clone(),
            Tear,
        ],
        vec![
            Kill(vec![Write(1)]),
            Kill(vec![absent.clone()]),
            Truncate(1),
            Kill(vec![renamed, absent, Compress]),
            Pass(4),
        ],
        // A file that had gone on in its compressed copy kept its path: another one with its inode
        // passed for it.
        vec![
            Write(11),
            Pass(5),
            Pass(1),
            Kill(vec![]),
            Pass(4),
            CopyTruncate,
            Compress,
            Delete,
            Pass(4),
            Tear,
        ],
        // Another file got the name, the inode and the length of one that was compressed.
        vec![
            Kill(vec![Write(13), Tear, CopyTruncate, Write(22)]),
            Kill(vec![]),
            CopyTruncate,
            Delete,
            created,
            Compress,
            Pass(7),
            Write(22),
            Rename { create: true },
        ],
    ]
}
