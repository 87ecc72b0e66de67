//! The option sheet. Every line was measured in a prototype (`docs/data-layout.md`); the ones that
//! would surprise say why.

use super::Error;
use rocksdb::{
    BlockBasedOptions, Cache, DBCompressionType, DataBlockIndexType, Env, FlushOptions, Options,
    ReadOptions, WriteOptions,
};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use super::keys::Family;

const MIB: usize = 1 << 20;
/// What RocksDB makes of rows when it rewrites them.
pub(super) const FILE_BYTES: usize = 32 * MIB;

/// Until a file of the last level is rewritten for what a view held back in it.
const REWRITE_DELAY_SECONDS: u32 = 3600;

/// What an operator or a test may choose. The defaults hold a million small keys in 300 MB.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineOptions {
    /// Blocks, filters and indexes read from files.
    pub block_cache_bytes: usize,
    /// A family's writes are flushed to a file when they reach this.
    pub memtable_bytes: usize,
    /// A flush returns when the compactions that it starts are done too: what is on disk then does not
    /// depend on when a thread had its turn (the simulator).
    pub settles: bool,
}

impl Default for EngineOptions {
    fn default() -> Self {
        Self {
            block_cache_bytes: 64 * MIB,
            memtable_bytes: 16 * MIB,
            settles: false,
        }
    }
}

impl EngineOptions {
    /// For a look into a checkpoint: next to no memory.
    pub fn small() -> Self {
        Self {
            block_cache_bytes: MIB,
            memtable_bytes: MIB,
            settles: false,
        }
    }

    pub(super) fn database(&self) -> Result<Options, Error> {
        let mut options = Options::default();
        if self.settles {
            // Else a thread of its own tries a failed flush again, at once and then every second.
            options = with(&mut options, "max_bgerror_resume_count=0")?;
        }
        let mut env = Env::new().map_err(Error::engine("make an environment"))?;
        // Flushes and compactions at normal priority starve the apply thread on small machines:
        // pauses of 70-270 ms became 13-28 ms.
        env.lower_thread_pool_cpu_priority();
        env.lower_high_priority_thread_pool_cpu_priority();
        options.set_env(&env);
        options.create_if_missing(true);
        options.create_missing_column_families(true);
        // Without a write-ahead log the families are consistent only if they are flushed together.
        options.set_atomic_flush(true);
        options.set_max_background_jobs(2);
        // All files are opened at the start. So their statistics cost nothing then, and are not
        // skipped: without them the rows of every file that was there before count as none.
        options.set_max_open_files(-1);
        if self.settles {
            options.set_max_file_opening_threads(1);
        }
        options.set_bytes_per_sync(MIB as u64);
        // One thread writes.
        options.set_allow_concurrent_memtable_write(false);
        options.set_enable_write_thread_adaptive_yield(false);
        options.set_stats_dump_period_sec(0);
        options.set_keep_log_file_num(2);
        Ok(options)
    }

    /// `history_floor`: versions that ended at or before it are dropped when files are rewritten.
    pub(super) fn family(
        &self,
        family: Family,
        cache: &Cache,
        history_floor: &Arc<AtomicI64>,
    ) -> Result<Options, Error> {
        let mut options = Options::default();
        // Rows that a view saw while they were written to the last level keep their sequence numbers, and
        // RocksDB rewrites such files as soon as the view is closed: soon everything twice, for next to
        // nothing. In a simulation nobody would wait for it.
        let delay = if self.settles {
            u32::MAX
        } else {
            REWRITE_DELAY_SECONDS
        };
        let delay = format!("bottommost_file_compaction_delay={delay}");
        options = with(&mut options, &delay)?;
        options.set_write_buffer_size(match family {
            Family::Lease | Family::Meta => self.memtable_bytes.min(4 * MIB),
            Family::Current | Family::Events | Family::History => self.memtable_bytes,
        });
        options.set_max_write_buffer_number(4);
        options.set_target_file_size_base(FILE_BYTES as u64);
        options.set_max_bytes_for_level_base(128 * MIB as u64);
        options.set_level_compaction_dynamic_level_bytes(true);
        options.set_compression_type(DBCompressionType::Lz4);
        let mut blocks = BlockBasedOptions::default();
        blocks.set_block_cache(cache);
        blocks.set_format_version(6);
        blocks.set_cache_index_and_filter_blocks(true);
        blocks.set_cache_index_and_filter_blocks_with_high_priority(true);
        blocks.set_pin_l0_filter_and_index_blocks_in_cache(true);
        blocks.set_optimize_filters_for_memory(true);
        match family {
            Family::Current => {
                blocks.set_block_size(8 << 10);
                blocks.set_bloom_filter(10.0, false);
                blocks.set_data_block_index_type(DataBlockIndexType::BinaryAndHash);
                // Most puts ask first whether the key is there.
                options.set_memtable_prefix_bloom_ratio(0.05);
                options.set_memtable_whole_key_filtering(true);
            }
            Family::Events => blocks.set_block_size(32 << 10),
            Family::History => {
                blocks.set_block_size(16 << 10);
                let floor = Arc::clone(history_floor);
                options.set_compaction_filter(c"ended versions", move |_level, _key, row| {
                    // The row begins with the revision at which the version ended. A row that is
                    // too short is left for a reader to report: a filter has no way to.
                    let ended = row
                        .first_chunk::<8>()
                        .map(|ended| i64::from_be_bytes(*ended));
                    match ended {
                        Some(ended) if ended <= floor.load(Ordering::Acquire) => {
                            rocksdb::compaction_filter::Decision::Remove
                        }
                        _ => rocksdb::compaction_filter::Decision::Keep,
                    }
                });
            }
            Family::Lease | Family::Meta => blocks.set_block_size(4 << 10),
        }
        options.set_block_based_table_factory(&blocks);
        Ok(options)
    }

    /// Not an LRU cache: that one is sharded so finely that a filter block of a big file exceeds a
    /// shard and is never cached (a get became 68 us).
    pub(super) fn cache(&self) -> Cache {
        Cache::new_hyper_clock_cache(self.block_cache_bytes, 0)
    }
}

/// What Rust's interface to RocksDB has no word for.
fn with(options: &mut Options, more: &str) -> Result<Options, Error> {
    options
        .get_options_from_string(more)
        .map_err(Error::engine("set an option"))
}

pub(super) fn unlogged() -> WriteOptions {
    let mut options = WriteOptions::default();
    options.disable_wal(true);
    options
}

pub(super) fn wait_for_flush() -> FlushOptions {
    let mut options = FlushOptions::default();
    options.set_wait(true);
    options
}

pub(super) fn durable_only() -> ReadOptions {
    let mut options = ReadOptions::default();
    options.set_read_tier(rocksdb::ReadTier::Persisted);
    options
}
