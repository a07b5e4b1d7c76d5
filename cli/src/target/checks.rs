//! What must not be registered, and how to get there all the same.

use crate::failure::Failure;

/// What is known when a member is about to be registered.
#[derive(Clone, Debug, Default)]
pub(super) struct Candidate<'a> {
    /// Name of the target to be.
    pub(super) name: &'a str,
    /// UID of the hub.
    pub(super) hub_uid: &'a str,
    /// UID of the member.
    pub(super) member_uid: &'a str,
    /// Targets of the hub, with the UID of the cluster behind them where it is known.
    pub(super) targets: &'a [(String, Option<String>)],
    /// Hub and target that the member's agent was set up for, if it was.
    pub(super) serves: Option<(String, String)>,
    /// `--allow-hub`.
    pub(super) allow_hub: bool,
    /// `--take-over`.
    pub(super) take_over: bool,
}

/// Target names are part of a namespace's name and of labels.
pub(super) fn valid_name(name: &str) -> Result<(), Failure> {
    const MOST: usize = 49;
    let wrong = |why: &str| {
        Err(
            Failure::typed(format!("{name:?} cannot be the name of a target: {why}"))
                .hint("examples: eu-1, us-west-gpu"),
        )
    };
    let alnum = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    if name.is_empty() {
        return wrong("it is empty");
    }
    if name.len() > MOST {
        return wrong("it has more than 49 characters, and its namespace is inhaul-target-NAME");
    }
    if !name.chars().all(|c| alnum(c) || c == '-') {
        return wrong("only lower-case letters, digits and - may be in it");
    }
    if !name.starts_with(alnum) || !name.ends_with(alnum) {
        return wrong("it begins and ends with a letter or a digit");
    }
    Ok(())
}

/// Refuses what would make one cluster two targets, or two clusters one.
pub(super) fn may_register(candidate: &Candidate<'_>) -> Result<(), Failure> {
    let Candidate {
        name,
        hub_uid,
        member_uid,
        targets,
        serves,
        allow_hub,
        take_over,
    } = candidate;
    if member_uid == hub_uid && !allow_hub {
        return Err(Failure::failed(
            "the member is the hub itself: both have the same namespace kube-system",
        )
        .hint("name another cluster with --member-kubeconfig and --member-context,")
        .hint("or say --allow-hub if the hub is to run workloads too"));
    }
    if let Some((other, _)) = targets
        .iter()
        .find(|(other, uid)| other != name && uid.as_deref() == Some(*member_uid))
    {
        return Err(Failure::failed(format!("this cluster is registered already, as target {other:?}"))
            .hint(format!("use that one (inhaul target describe {other}), or remove it first: inhaul target remove {other}")));
    }
    let own = targets
        .iter()
        .find(|(other, _)| other == name)
        .and_then(|(_, uid)| uid.as_deref());
    if let Some(uid) = own.filter(|uid| uid != member_uid) {
        return Err(Failure::failed(format!("target {name:?} is another cluster (kube-system has UID {uid} there, {member_uid} here)"))
            .hint(format!("choose another name, or remove that target first: inhaul target remove {name}")));
    }
    match serves {
        Some((hub, target)) if hub != hub_uid && !take_over => Err(Failure::failed(format!(
            "this cluster serves another hub (UID {hub}), as target {target:?}"
        ))
        .hint("remove it there first; if that hub is gone for good, say --take-over:")
        .hint("what that hub left running stays, and is not touched by this one")),
        Some((hub, target))
            if hub == hub_uid
                && target != name
                && targets.iter().any(|(t, _)| t == target)
                && !take_over =>
        {
            Err(Failure::failed(format!(
                "this cluster is registered already, as target {target:?}"
            ))
            .hint(format!(
                "use that one, or remove it first: inhaul target remove {target}"
            )))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for good in ["a", "eu-1", "0", &"x".repeat(49)] {
            assert!(valid_name(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "Eu",
            "-a",
            "a-",
            "a.b",
            "a_b",
            "a/b",
            "ä",
            &"x".repeat(50),
        ] {
            assert_eq!(valid_name(bad).unwrap_err().exit_code(), 2, "{bad}");
        }
    }

    fn targets() -> Vec<(String, Option<String>)> {
        vec![("eu-1".into(), Some("m1".into())), ("us-1".into(), None)]
    }

    /// The message of the refusal, or nothing.
    fn refusal(change: impl FnOnce(&mut Candidate<'_>)) -> String {
        let targets = targets();
        let mut candidate = Candidate {
            name: "us-1",
            hub_uid: "h",
            member_uid: "m2",
            targets: &targets,
            ..Candidate::default()
        };
        change(&mut candidate);
        may_register(&candidate)
            .err()
            .map(|f| f.text())
            .unwrap_or_default()
    }

    #[test]
    fn one_cluster_is_one_target() {
        assert_eq!(refusal(|_| {}), "");
        assert_eq!(
            refusal(|c| (c.name, c.member_uid) = ("eu-1", "m1")),
            "",
            "the same again"
        );
        assert!(refusal(|c| c.member_uid = "h").contains("the hub itself"));
        assert_eq!(refusal(|c| (c.member_uid, c.allow_hub) = ("h", true)), "");
        assert!(refusal(|c| c.member_uid = "m1").contains("already, as target \"eu-1\""));
        assert!(refusal(|c| c.name = "eu-1").contains("another cluster"));
    }

    #[test]
    fn a_member_serves_one_hub() {
        let serves = |hub: &str, target: &str| Some((hub.to_owned(), target.to_owned()));
        assert_eq!(refusal(|c| c.serves = serves("h", "us-1")), "");
        assert!(refusal(|c| c.serves = serves("h", "eu-1")).contains("as target \"eu-1\""));
        assert_eq!(
            refusal(|c| c.serves = serves("h", "gone")),
            "",
            "that target is no more"
        );
        assert!(refusal(|c| c.serves = serves("h2", "us-1")).contains("another hub"));
        assert_eq!(
            refusal(|c| (c.serves, c.take_over) = (serves("h2", "us-1"), true)),
            ""
        );
    }
}
