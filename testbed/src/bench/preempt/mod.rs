//! `bench preempt`: what preemption costs in lost work, against the exact minimum, on small cuts of a fleet by chance.

mod cut;
mod exact;
mod ours;
#[cfg(test)]
mod program;
mod rules;

use anyhow::Result;

use super::table::{Output, Table};
use cut::Cut;
use rules::Rule;

/// What is run.
#[derive(Debug, Clone, clap::Args)]
pub struct PreemptArgs {
    /// Cuts of a fleet.
    #[arg(long, default_value_t = 2000)]
    cuts: u64,
    /// Output: a table, or one JSON document.
    #[arg(long, short, value_enum, default_value_t)]
    output: Output,
}

/// How the victims of a rule compare with the exact minimum.
#[derive(Clone, Debug, Default)]
struct Tally {
    cuts: f64,
    /// Lost work where the most important victim is of the priority of the exact choice.
    lost: f64,
    least: f64,
    worst: f64,
    /// No victims were found although there are.
    missed: f64,
    /// Somebody more important went than had to.
    important: f64,
    /// Exactly the least.
    exact: f64,
    /// Gangs that went beyond those of the exact choice.
    gangs: f64,
    flaps: f64,
}

impl Tally {
    fn add(&mut self, cut: &Cut, least: &[usize], victims: Option<&[usize]>) {
        self.cuts += 1.0;
        let Some(victims) = victims else {
            self.missed += 1.0;
            return;
        };
        let (mine, best) = (cut.cost(victims), cut.cost(least));
        let more = cut.gangs(victims).saturating_sub(cut.gangs(least));
        self.gangs += more as f64;
        if mine.priority > best.priority {
            self.important += 1.0;
            return;
        }
        self.exact += f64::from(u8::from(mine.lost == best.lost));
        self.lost += mine.lost as f64;
        self.least += best.lost as f64;
        self.worst = self.worst.max(mine.lost as f64 / best.lost.max(1) as f64);
    }

    /// Lost work by the least.
    fn ratio(&self) -> f64 {
        self.lost / self.least.max(1.0)
    }

    fn figures(&self) -> [(&'static str, f64); 8] {
        let percent = |count: f64| 100.0 * count / self.cuts.max(1.0);
        [
            ("lost / least", self.ratio()),
            ("worst", self.worst),
            ("exactly the least, %", percent(self.exact)),
            ("more important victim, %", percent(self.important)),
            ("none found, %", percent(self.missed)),
            ("gangs killed in vain", self.gangs),
            ("flaps", self.flaps),
            ("cuts", self.cuts),
        ]
    }
}

pub(super) fn run(args: &PreemptArgs) -> Result<()> {
    let mut table = Table::new("preempt");
    table.note("cuts of 6 to 12 nodes in two clusters, nine tenths full, a gang of higher priority that does not fit; lost: GPU-seconds since start or checkpoint");
    table.note("exact: least priority of the most important victim, then least lost work, fewest victims, fewest gangs, by branch and bound over all sets; published: nothing");
    let (ours, others) = tally(args.cuts);
    for (rule, tally) in &others {
        table.figures("cuts", rule.name(), tally.figures());
    }
    table.figures("cuts", "ours, live planner", ours.figures());
    let beside = |figure: &dyn Fn(&Tally) -> String| {
        let one = |(rule, tally): &(Rule, Tally)| format!("{} {}", rule.name(), figure(tally));
        others.iter().map(one).collect::<Vec<_>>().join(", ")
    };
    table.at_most(
        "lost work / exact minimum",
        ours.ratio(),
        1.05,
        beside(&|tally| format!("{:.2}", tally.ratio())),
    );
    table.at_most(
        "cuts with a more important victim than needed, or none found",
        ours.important + ours.missed,
        0.0,
        beside(&|tally| format!("{:.0}", tally.important + tally.missed)),
    );
    table.at_most(
        "gangs killed beyond those of the exact choice",
        ours.gangs,
        0.0,
        beside(&|tally| format!("{:.0}", tally.gangs)),
    );
    table.at_most("flaps", ours.flaps, 0.0, "");
    table.print(args.output)
}

fn tally(cuts: u64) -> (Tally, Vec<(Rule, Tally)>) {
    let mut ours = Tally::default();
    let mut others: Vec<(Rule, Tally)> = Rule::ALL.map(|rule| (rule, Tally::default())).into();
    for seed in 0..cuts {
        let cut = Cut::draw(seed);
        let done = ours::plan(&cut);
        ours.flaps += done.flaps as f64;
        let Some(least) = exact::cheapest(&cut) else {
            // Nobody can make room; to start then would be wrong.
            ours.important += f64::from(u8::from(done.victims.is_some()));
            continue;
        };
        ours.add(&cut, &least, done.victims.as_deref());
        for (rule, tally) in &mut others {
            tally.add(&cut, &least, rule.victims(&cut).as_deref());
        }
    }
    (ours, others)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn close_to_the_exact_minimum_and_at_rest() {
        let (ours, others) = tally(150);
        assert!(ours.ratio() <= 1.05, "{ours:?}");
        assert!(ours.important + ours.missed + ours.flaps <= 0.0, "{ours:?}");
        for (rule, tally) in others {
            assert!(ours.ratio() <= tally.ratio(), "{}: {tally:?}", rule.name());
        }
    }

    /// The program and the search find the same least, and the planner is within 5 % of it.
    #[test]
    fn the_search_and_an_integer_program_agree() {
        let (mut lost, mut least) = (0, 0);
        for seed in 0..60 {
            let cut = Cut::draw(seed);
            let searched = exact::cheapest(&cut).map(|gone| cut.cost(&gone));
            let found = program::least(&cut);
            assert_eq!(
                searched.map(|cost| (cost.priority, cost.lost)),
                found,
                "{cut:?}"
            );
            let ours = ours::plan(&cut).victims.map(|gone| cut.cost(&gone));
            assert_eq!(ours.map(|cost| cost.priority), found.map(|(most, _)| most));
            lost += ours.map_or(0, |cost| cost.lost);
            least += found.map_or(0, |(_, lost)| lost);
        }
        println!(
            "lost {:.4} times the least of the program",
            lost as f64 / least as f64
        );
        assert!(lost * 100 <= least * 105, "{lost} of {least}");
    }
}
