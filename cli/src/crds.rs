//! `inhaul crds`: the CustomResourceDefinitions as YAML.

use std::path::Path;

use placement_api::kinds::{crds_yaml, hub_crds, member_crds};

use crate::args;
use crate::failure::Failure;
use crate::output;

/// Prints the kinds of the hub or of a member, or writes both into a folder.
pub(crate) fn run(args: &args::Crds) -> Result<(), Failure> {
    match &args.out {
        None => output::data(&if args.member { member()? } else { hub()? }),
        Some(dir) => {
            write(dir, "hub.yaml", &hub()?)?;
            write(dir, "member.yaml", &member()?)
        }
    }
}

fn hub() -> Result<String, Failure> {
    crds_yaml(&hub_crds()).map_err(|error| Failure::failed(format!("cannot write YAML: {error}")))
}

fn member() -> Result<String, Failure> {
    crds_yaml(&member_crds())
        .map_err(|error| Failure::failed(format!("cannot write YAML: {error}")))
}

fn write(dir: &Path, name: &str, text: &str) -> Result<(), Failure> {
    let path = dir.join(name);
    let failed = |error| Failure::failed(format!("cannot write {}: {error}", path.display()));
    std::fs::create_dir_all(dir).map_err(failed)?;
    std::fs::write(&path, text).map_err(failed)?;
    output::talk(&format!("wrote {}", path.display()));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_in_the_repository_are_up_to_date() {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("crds");
        for (name, text) in [
            ("hub.yaml", hub().unwrap()),
            ("member.yaml", member().unwrap()),
        ] {
            let file = std::fs::read_to_string(dir.join(name)).unwrap_or_default();
            assert!(
                file == text,
                "cli/crds/{name} is out of date; write it anew: cargo run -p cli -- crds --out cli/crds"
            );
        }
    }
}
