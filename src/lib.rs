//! logweir: source actors push lines into a bounded channel; a batching sink takes them out,
//! delivers them, and only then does the place we read from move forward.
//!
//! This page is the map. What a person sees is in `README.md`; why a line of code is as it is
//! stands beside it.
//!
//! # The way of a line
//!
//! ```text
//!  source actors        one per sink        delivery                        checkpoint
//!
//!  file: a cursor       queue: chunks,      Batcher -> encode -> deliver    Ledger: the longest
//!  per sink             slots and bytes     retry, halve, bisect,           settled prefix per
//!  stream, websocket, -> are bounded     -> dead letter              -Ack-> (source, stream, sink)
//!  stdin: shared, or                                                         -> journal
//!  spooled like a file
//!       ^                                                                       |
//!       +-------- where to go on, read once at the start of a cursor -----------+
//! ```
//!
//! 1. A source waits for room in a sink's budget ([`queue::Sender::charge`]), reads up to 256 KiB
//!    into a pooled buffer, and has it cut into whole [`model::Lines`] ([`framing`]). Nothing is
//!    done per line here but finding its end.
//! 2. It opens an [`model::Ack`] at the ledger of its cursor for the position after those lines and
//!    sends all of it as a [`queue::Chunk`]. From now on it knows nothing of what happens to it.
//! 3. [`delivery`] gathers chunks into a [`model::Batch`], has the sink encode it (above 64 KiB on
//!    the blocking pool) while the one before is on its way, and delivers it until the answer is
//!    final. Halves and bisected parts are subsets of the same batch, encoded anew.
//! 4. The whole batch being the sink's, its acks are settled. Each [`model::Ledger`] moves over the
//!    longest prefix that is settled, in whatever order batches come back, and [`checkpoint`]
//!    appends where it stands to the journal.
//!
//! Data goes from left to right only. What comes back is an `Ack`, and it goes to the ledger, never
//! to the source's code; the source looks at its position again only when a cursor is started.
//!
//! A file is its own buffer and is read once per sink, each at its own pace (the second read comes
//! from the page cache); so a dead collector never stops a local archive, and there is no copy on
//! disk. What cannot be read again is cloned into the queue of every sink, which costs one counter; or
//! it is spooled, and then read once per sink like a file.
//!
//! # What must always hold
//!
//! 1. Nothing is acknowledged that the sink does not own. An ack that is dropped settles nothing:
//!    it breaks its ledger, chunks of that ledger are passed over, and the cursor is started again
//!    from what was settled. Lines that are given up on purpose are settled and counted by name.
//! 2. Everything is bounded: slots, bytes in flight from the read to the acknowledgement, the
//!    length of a line, delays, open files, dead letters. Each source has one chunk reserved at
//!    each sink, so that a flood elsewhere cannot starve it.
//! 3. Work is per chunk. No allocation, lock, clock, atomic or log call per line on the raw path.
//! 4. One slow or broken source or sink never harms another. A source's trouble is its state, not
//!    the end of the process.
//! 5. Standard output carries records only; everything else goes to standard error.
//! 6. Secrets are [`secret::Secret`] from the configuration to the header, and URLs are shown
//!    without userinfo and query.
//!
//! # Layers
//!
//! A module uses modules of lower layers only, and siblings in [`source`] and [`sink`] do not use
//! each other; `tests/it/tidy.rs` holds it. The list of modules below is in reading order, from the
//! nouns up.
//!
//! ```text
//! cli                                       arguments, one file per command, exit codes
//! agent                                     starts, watches and ends tasks; only it spawns
//! config                                    TOML -> validated structs; every error at its place
//! source/*   sink/*                         I/O shells around the layers below
//! delivery                                  the retry loop; knows no concrete sink
//! queue  checkpoint  outputs  http  notes  telemetry  random
//! terminal  blocking                        what records, notes and log share; calls that block
//! framing  filter  encoding  segment  backoff
//!                                           algorithms
//! model  secret                             types
//! ```
//!
//! The two lowest layers are pure: no I/O, no clock (`now` is an argument), no log, no globals.
//! What is clever about bytes lives there and is tested with tables and properties.
//!
//! To add a source or a sink: one file, one variant of the enum, one arm of the match, its reader
//! in `config`, its test, its block in `agent.toml.example`.
//!
//! # Decisions that the code alone does not explain
//!
//! - **Batches hold whole chunks.** A chunk is never cut to make a batch fit; a part of a batch (a
//!   half after 413, the lines to blame after 400) is named by a [`model::LineSet`] over all of its
//!   lines, and encoded from the same chunks. Delivery therefore never shares or splits an ack: a
//!   chunk has one, and the batch settles when its last part has come back.
//! - **File chunks are cut to the batch's line limit at the source**, where the position after each
//!   part is known; so the position that is saved with a batch is exact, and a restart repeats no
//!   line of a batch that was delivered. A chunk of another source can hold more lines than a batch
//!   may: delivery then sends it in parts.
//! - **The checkpoint is one journal file** of checksummed JSON lines, not a journal beside a
//!   snapshot: when it is larger than 1 MiB and than four times what it adds up to, a fresh journal
//!   with the same sum takes its place (temporary file, fsync, rename, fsync of the directory).
//!   Each start does so, too. A record says where something stands and never by how much it moved,
//!   so a damaged line costs itself alone, and a torn one at the end is the last thing a crash did
//!   not do.
//! - **Exactly once to a file** is an intent in that journal before each write: which file, from
//!   which length to which, the checksum of the bytes, the positions afterwards. A sink writes one
//!   batch after the other, so a new intent also says that the one before was carried out.
//! - **After a power cut** the journal can know more than the outputs hold. Every opening notes the
//!   kernel's boot id and every fsync the length that it covered; on another boot, what lies behind
//!   that length moves a file sink's cursors only as far as the outputs' checksums verify.
//! - **Read buffers and bodies come from pools** ([`framing::Pool`]) and are handed out as `Bytes`
//!   by `Bytes::from_owner`: the last reference, wherever it is dropped, brings the buffer back. A
//!   `BytesMut` kept for its capacity would allocate again as long as a chunk of it is alive, and
//!   fresh memory costs a page fault each 4 KiB. Lines that fill less than a quarter of their
//!   buffer are copied out, so that what is charged is what is pinned.
//! - **Positions carry a guard**, a hash of the last 256 bytes before them. It is compared after
//!   each read, when what was read is not yet sent: inode numbers are used again at once, and a
//!   file can be truncated and have grown past the position between two looks.
//! - **Streams have one reader for all sinks**, unlike files: each sink has its own ledger, and the
//!   next piece is read when every sink has taken this one. An SSE event's id is the position of
//!   what came with it, with the number of events so far: which of two ids is the older one only the
//!   server knows. After a restart the stream goes on at the earliest place that a sink stands at, so
//!   nothing is missing at any; the others get some lines twice, which is said.
//! - **Where a stream stands is the source's own word**: an event's id, a second and how many lines of it
//!   came (`source::stream`), a cursor with what tells an unchanged page and the last ids
//!   (`source::poll`), a byte and the hash of what was before it (`source::range`). It goes along with
//!   the last chunk of what it belongs to, and is saved with the batch of that chunk: never when it was
//!   read, for then a crash would turn into "nothing new" and a loss.
//! - **A spool is a file that this process writes itself** (`source::spool`, format in [`segment`]): its id
//!   is a stream's, a place in it is a place in a file, so ledgers, journal, intents and ids are the same.
//!   Where the source goes on stands in the record with its last lines, not in the journal: after a kill
//!   one of the two would be ahead of the other. What guards a place is the number of lines before it, so
//!   that whatever is missing is counted to the line.
//! - **Many URLs are one task** (`source::poll`, `source::health`): each is a future of its own, so one
//!   that hangs delays no other; a permit per request bounds what is in flight, and of answers above
//!   64 KiB only two are in memory.
//! - **Merging by time happens in the queue** ([`queue::Order`]), between the sources and the batch:
//!   a chunk is let go in parts. Each part of a file's chunk has a position: the one before the chunk,
//!   and up to where the records behind it are the sink's ([`model::Begun`]); so reading starts where
//!   it started before, makes the same records, and passes over those. A source says itself when it is
//!   behind ([`queue::Behind`]): only then is it waited for without a window. The lines' own times
//!   decide; what they are called outside stays as it is.
//! - **Finite inputs are deterministic** ([`agent::Inputs::Finite`]): merged strictly by time, or one
//!   after the other, so that `tail --no-follow --order off a b` is like `cat a b`.
//! - **Sources report their first attempt** ([`source::SourceContext::first_attempt`]), once: so
//!   `tail` ends with an error where nothing at all can be read, and otherwise tries for ever.
//! - **The process ends in phases**: sources stop, back-off is cut short and each delivery makes
//!   one last attempt, checkpoints are saved last. What was not delivered stays behind its
//!   position.

// Types and algorithms, all of them pure.
pub mod model;
pub mod secret;

pub mod backoff;
pub mod encoding;
pub mod filter;
pub mod framing;
pub mod segment;

// What is shared by everything that runs.
pub mod blocking;
pub mod terminal;

pub mod checkpoint;
pub mod http;
pub mod notes;
pub mod outputs;
pub mod queue;
pub mod random;
pub mod telemetry;

// The way of a line, from its end to its beginning.
pub mod delivery;
pub mod sink;
pub mod source;

// What puts it together.
pub mod config;

pub mod agent;

pub mod cli;
