//! Thin binary: `inhaul`, and `kubectl inhaul` where it is installed as `kubectl-inhaul`.
fn main() -> std::process::ExitCode {
    cli::main_with(std::env::args_os())
}
