//! Thin binary: see [`testbed::cli`]. Scheduler and agents run out of it too, so it has their allocator.

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    testbed::cli::main()
}
